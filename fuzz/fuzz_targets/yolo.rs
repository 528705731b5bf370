//! The readers of YOLO's texts and of `data.yaml`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mmy_formats::yolo;

fuzz_target!(|text: &str| {
    let lines = text.bytes().filter(|it| *it == b'\n').count() as u32 + 1;
    for it in yolo::labels(text) {
        match it {
            Ok(label) => {
                assert!((1..=lines).contains(&label.line));
                let _ = label.outline.edges();
            }
            Err(fault) => assert!((1..=lines).contains(&fault.line) && !fault.reason.is_empty()),
        }
    }
    match yolo::data_yaml(text) {
        Ok(yaml) => assert!(yaml.names.len() <= text.len().max(10_000)),
        Err(fault) => assert!(fault.line >= 1 && !fault.reason.is_empty()),
    }
});
