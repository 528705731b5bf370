//! Plugin crates: made, built, linked, trained with, and missed where they are not.

use std::process::Command;

use serde_json::Value;

use crate::support::{TINY, folder, mmy, ok, root};

/// As one test, since each program that is built takes a minute.
#[test]
fn plugin_crates_are_built_in_and_missed() {
    let dir = folder();
    let dir = dir.path();
    ok(dir, &["new", "plugin", "my_blocks"]);
    assert_eq!(mmy(dir, &["new", "plugin", "my_blocks"]).status, Some(2), "a folder that is there is left alone");

    let example = root().join("examples/plugin").display().to_string();
    let built = ok(dir, &["build", "--plugin", "my_blocks", "--plugin", &example, "-o", "my-mmy", "--offline"]);
    assert!(built.out.contains("my_blocks 0.1.0"), "{}", built.out);
    let run = |args: &[&str]| {
        let out = Command::new(dir.join("my-mmy")).args(args).current_dir(dir).env("NO_COLOR", "1").output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (out.status.code(), text(out.stdout), text(out.stderr))
    };

    // Which crate each name comes from, and what is linked.
    let (_, text, _) = run(&["registry", "list", "neck", "--json"]);
    for (name, krate) in [("Gate", "my_blocks"), ("ECANeck", "mmy-example-plugin"), ("YOLOv5PAFPN", "mmy-models")] {
        let list: Value = serde_json::from_str(&text).unwrap();
        let of_name = |it: &&Value| it["name"] == name;
        let entry = list.as_array().unwrap().iter().find(of_name).unwrap_or_else(|| panic!("no {name} in {text}"));
        assert_eq!(entry["crate"], krate);
    }
    let (_, text, _) = run(&["version", "--plugins", "--json"]);
    let version: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(version["plugins"].as_array().map(Vec::len), Some(2));
    assert!(version["plugins"][1]["source"].as_str().is_some_and(|it| it.starts_with("blake3:")), "{text}");
    let (_, text, _) = run(&["registry", "show", "Gate"]);
    assert!(text.contains("What each gate begins with") && text.contains("src/gate.rs"), "{text}");

    // A mistake in a plugin's keys is found like any other.
    let config = "my_blocks/configs/example.toml";
    let (status, _, err) = run(&["config", "show", config, "--set", "model.neck.innit=1"]);
    assert_eq!(status, Some(2));
    assert!(err.contains("did you mean `init`?"), "{err}");

    // Both configs train; a checkpoint that needs a plugin says so where it is not.
    let shipped = format!("{example}/configs/starnet_s1_eca.toml");
    for (config, name) in [(config, "example"), (shipped.as_str(), "starnet_s1_eca")] {
        let args: Vec<_> = ["train", config].into_iter().chain(TINY).chain(["--set", "max_epochs=1"]).collect();
        let (status, _, err) = run(&args);
        assert_eq!(status, Some(0), "{config}: {err}");
        let checkpoint = format!("work_dirs/{name}/epoch_1.safetensors");
        let (status, _, err) = run(&["predict", &checkpoint, "data/shapes/val", "--out", "out"]);
        assert_eq!(status, Some(0), "{err}");
        let refused = mmy(dir, &["predict", &checkpoint, "data/shapes/val", "--out", "out"]);
        assert_eq!(refused.status, Some(2));
        let krate = if name == "example" { "my_blocks" } else { "mmy-example-plugin" };
        assert!(refused.err.contains(krate), "{}", refused.err);
    }
}

#[test]
fn what_is_no_plugin_is_refused() {
    let dir = folder();
    let check = |args: &[&str], want: &str| {
        let ran = mmy(dir.path(), args);
        assert_eq!(ran.status, Some(2), "{}", ran.err);
        assert!(ran.err.contains(want), "{}", ran.err);
    };
    check(&["build", "--plugin", "./nothing"], "is no folder of a crate");
    check(&["build", "--plugin", "my_blocks"], "my_blocks@0.1.0");
    check(&["new", "plugin", "My Blocks"], "is no name of a crate");
    check(&["new", "plugin", "mmy-blocks"], "is a name that others have");
}
