//! What the config language means: each case is a text, `--set` items, and the resolved config or the report.

use mmy_config::{Options, load_str};

fn show(text: &str, set: &[&str], env: &[(&str, &str)]) -> String {
    let options = Options {
        set: set.iter().map(|it| (*it).to_owned()).collect(),
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..Options::default()
    };
    match load_str("c.toml", text, &options) {
        Ok(loaded) => {
            let again = load_str("again.toml", &loaded.to_toml(), &Options::default());
            let again = again.unwrap_or_else(|report| panic!("the resolved config does not load:\n{report}"));
            assert!(loaded.root.same_value(&again.root), "not the same after a round trip:\n{}", loaded.to_toml());
            loaded.to_toml()
        }
        Err(report) => report.to_string(),
    }
}

#[track_caller]
fn check(text: &str, set: &[&str], expect: &str) {
    let shown = show(text, set, &[("HOME_DIR", "/data"), ("MMY_TRAIN_CFG__MAX_EPOCHS", "3"), ("MMY_LOG", "debug")]);
    let shown = shown.replace("[train_cfg]\nmax_epochs = 3\n", "");
    assert_eq!(shown.trim(), expect.trim(), "\n{shown}");
}

#[test]
fn expressions_keep_types() {
    let vars = "[vars]\nn = 3\nimg_scale = [320, 320]\nobj = 1.0\n[a]\n";
    let case = |expression: &str, expect: &str| {
        check(&format!("{vars}x = \"{{{{ {expression} }}}}\""), &[], &format!("[a]\nx = {expect}"));
    };
    case("n", "3");
    case("n * 2", "6");
    case("n / 2", "1.5");
    case("n // 2", "1");
    case("2 ** n", "8");
    case("-img_scale[0] // 2", "-160");
    case("obj * (img_scale[0] / 640) ** 2", "0.25");
    case("img_scale", "[320, 320]");
    case("img_scale + [n]", "[320, 320, 3]");
    case("[img_scale[0] // 2, n]", "[160, 3]");
    case("'a' if n > 2 else 'b'", "\"a\"");
    case("n > 2", "true");
    case("[{'type': 'BN', 'eps': 0.001}]", "[{ type = \"BN\", eps = 0.001 }]");
}

/// Deep or long input is refused or read, and never exhausts the stack.
#[test]
fn depth_is_bounded() {
    let chain: String = (0..100).map(|at| format!("v{at} = \"{{{{ v{} }}}}\"\n", at + 1)).collect();
    let text = format!("x = \"{{{{ v0 }}}}\"\n[vars]\n{chain}v100 = 1\n");
    assert!(show(&text, &[], &[]).contains("more than 64 deep"), "{}", show(&text, &[], &[]));
    let dotted = format!("{} = 1", vec!["a"; 5_000].join("."));
    assert!(show(&dotted, &[], &[]).starts_with("error[E0101]"));
    let nested = format!("a = {}1{}", "[".repeat(5_000), "]".repeat(5_000));
    assert!(show(&nested, &[], &[]).starts_with("error[E0101]"));
    let set = dotted.replace(" = ", "=");
    assert!(show("x = 1", &[&set], &[]).starts_with("error[E0110]"));
    let expression = format!("x = \"{{{{ {}1{} }}}}\"", "(".repeat(5_000), ")".repeat(5_000));
    assert!(show(&expression, &[], &[]).starts_with("error[E0120]"));
}

#[test]
fn names_may_be_missing_on_purpose() {
    check("a = \"{{ x is defined }}\"\nb = \"{{ x | default(3) }}\"", &[], "a = false\nb = 3");
    check("[vars]\nn = 2\n[t]\na = \"{{ vars.n }}\"\nb = \"{{ t.c or n }}\"\nc = 0", &[], "[t]\na = 2\nb = 2\nc = 0");
}

/// Each value knows its own place and those of the values that it took the place of.
#[test]
fn values_keep_their_history() {
    let options = Options {
        set: vec!["lr=0.4".into(), "lr=0.5".into()],
        env: [("MMY__LR".to_owned(), "0.3".to_owned())].into(),
        defaults: Some("lr = 0.1".into()),
        ..Options::default()
    };
    let loaded = load_str(
        "c.toml",
        "x = 1\nlr = \"{{ _base_.lr * 2 }}\"\n[vars]\nused = 1\nidle = 2\n[t]\na = \"{{ used }}\"",
        &options,
    )
    .expect("a good config");
    let lr = loaded.get("lr").expect("set above");
    let places: Vec<_> = lr.overridden.iter().chain(&lr.value).map(|it| loaded.sources.show(it)).collect();
    assert_eq!(places, ["built-in defaults:1:6", "c.toml:2:6", "environment:1:9", "--set:1:4", "--set:1:4"]);
    assert_eq!((lr.as_f64(), loaded.get("t.a").and_then(|it| it.as_int())), (Some(0.5), Some(1)));
    assert_eq!(
        (loaded.used_vars.as_slice(), loaded.get("vars.idle").is_some()),
        (["used".to_owned()].as_slice(), true)
    );
}
