//! The loader of configs: two files, one the base of the other, and `--set` items. A config that loads is shown and read
//! again, and gives the same.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use mmy_config::{Options, load, load_str};

fuzz_target!(|text: &str| {
    // Files and items are parted by a letter that no config holds.
    let mut parts = text.split('\u{1}');
    let (config, base) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    // A base that leads out of the folder could be a device that never ends.
    if [config, base].iter().any(|it| it.contains('/')) {
        return;
    }
    let options = Options { set: parts.map(str::to_owned).collect(), ..Options::default() };
    thread_local!(static DIR: tempfile::TempDir = tempfile::tempdir().expect("a folder"));
    DIR.with(|dir| {
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path
        };
        file("b.toml", base);
        check(&file("c.toml", config), &options);
    });
});

fn check(path: &Path, options: &Options) {
    match load(path, options) {
        Ok(loaded) => {
            let shown = loaded.to_toml();
            let again = load_str("again.toml", &shown, &Options::default())
                .unwrap_or_else(|report| panic!("what was shown does not load:\n{report}\n{shown}"));
            assert!(loaded.root.same_value(&again.root), "not the same after a round trip:\n{shown}");
        }
        Err(report) => assert!(!report.to_string().is_empty()),
    }
}
