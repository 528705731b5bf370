use std::{ffi::OsStr, fs, path::PathBuf};

use super::{find::torch_package, *};

/// A folder with the files that make a libtorch, less those named in `without`.
fn folder(version: Option<&str>, without: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let header = "include/torch/headeronly/version.h";
    let lib = |name: &str| format!("lib/lib{name}{DYLIB_SUFFIX}");
    let files = [
        "include/torch/csrc/api/include/torch/torch.h".to_owned(),
        header.to_owned(),
        lib("torch"),
        lib("torch_cpu"),
        lib("c10"),
    ];
    for file in files.iter().filter(|it| !without.iter().any(|w| it.contains(w))) {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text =
            if file == header { "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION \\\n  \"2.13.0\"\n" } else { "" };
        fs::write(path, text).unwrap();
    }
    if let Some(version) = version {
        fs::write(dir.path().join("build-version"), version).unwrap();
    }
    dir
}

/// `expect` is the version found, or a piece of the message.
#[track_caller]
fn check(vars: &[(&str, &OsStr)], expect: Result<&str, &str>) {
    let found = find(|name| {
        let (_, value) = vars.iter().find(|(key, _)| *key == name)?;
        Some((*value).to_owned())
    });
    match (found, expect) {
        (Ok(found), Ok(version)) => assert_eq!(found.version, version),
        (Err(e), Err(piece)) => assert!(e.to_string().contains(piece), "{e}"),
        (found, _) => panic!("{found:?}, expected {expect:?}"),
    }
}

#[test]
fn a_whole_one_is_found() {
    let dir = folder(Some("2.13.0+cpu\n"), &[]);
    check(&[("LIBTORCH", dir.path().as_os_str())], Ok("2.13.0+cpu"));
}

#[test]
fn without_build_version_the_header_says_the_release() {
    let dir = folder(None, &[]);
    check(&[("LIBTORCH", dir.path().as_os_str())], Ok("2.13.0"));
}

#[test]
fn what_cannot_be_built_against_is_refused() {
    for (dir, piece) in [
        (folder(Some("2.12.1"), &[]), "is 2.12.1, and 2.13.0 is needed"),
        (folder(None, &["version.h"]), "of no stated version"),
        (folder(Some("2.13.0"), &["torch_cpu"]), "libtorch_cpu"),
        (folder(Some("2.13.0"), &["torch.h"]), "torch.h is missing"),
    ] {
        check(&[("LIBTORCH", dir.path().as_os_str())], Err(piece));
    }
    check(&[("LIBTORCH", OsStr::new("libs/torch"))], Err("not an absolute path"));
    check(&[("LIBTORCH", OsStr::new("/no/such/folder"))], Err("set LIBTORCH to the folder of libtorch 2.13.0"));
}

#[test]
fn the_version_check_can_be_bypassed_as_in_torch_sys() {
    let dir = folder(Some("2.12.1"), &[]);
    check(&[("LIBTORCH", dir.path().as_os_str()), ("LIBTORCH_BYPASS_VERSION_CHECK", OsStr::new("1"))], Ok("2.12.1"));
}

#[test]
fn headers_and_libraries_may_lie_apart() {
    let (headers, libs) = (folder(Some("2.13.0"), &["lib/"]), folder(None, &["include/"]));
    let vars = [("LIBTORCH", headers.path().as_os_str()), ("LIBTORCH_LIB", libs.path().as_os_str())];
    check(&vars, Ok("2.13.0"));
    check(&vars[..1], Err("incomplete"));
}

#[test]
fn before_the_set_up_the_message_names_it() {
    let checkout = tempfile::tempdir().unwrap();
    let ours = checkout.path().join(DEFAULT_DIR);
    check(&[("LIBTORCH", ours.as_os_str())], Err("2.13.0-cpu yet: run `cargo xtask setup` once"));
}

#[test]
fn the_default_folder_carries_the_version() {
    assert!(DEFAULT_DIR.contains(VERSION));
}

#[test]
fn cargo_is_told_when_to_look_again_and_what_is_wrong() {
    let dir = folder(Some("2.13.0"), &[]);
    let text = find::instructions(&find_in(dir.path()));
    let library = dir.path().join("lib").join(format!("libtorch_cpu{DYLIB_SUFFIX}"));
    assert!(text.contains("cargo::rerun-if-env-changed=LIBTORCH\n"), "{text}");
    assert!(text.contains(&format!("cargo::rerun-if-changed={}\n", library.display())), "{text}");
    let text = find::instructions(&Err(Error::Unset));
    assert!(text.contains("cargo::error=LIBTORCH is not set"), "{text}");
}

#[cfg(unix)]
#[test]
fn python_is_asked_for_its_package() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let python = dir.path().join("python3");
    let says = |script: &str| {
        fs::write(&python, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
        torch_package(python.as_os_str())
    };
    assert_eq!(says("echo /site/torch"), Ok(PathBuf::from("/site/torch")));
    let error = says("exit 1").unwrap_err().to_string();
    assert!(error.contains("has no package `torch`"), "{error}");
    let error = torch_package(OsStr::new("/no/such/python")).unwrap_err();
    assert!(error.to_string().contains("is not installed"), "{error}");
}
