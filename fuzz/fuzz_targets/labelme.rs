//! The reader of labelme's files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mmy_formats::labelme;

fuzz_target!(|bytes: &[u8]| {
    let lines = bytes.iter().filter(|it| **it == b'\n').count() + 1;
    match labelme::parse(bytes) {
        Ok(file) => {
            for row in file.shapes {
                assert!((1..=lines).contains(&row.line));
                if let Ok(shape) = row.value {
                    let _ = shape.edges();
                }
            }
        }
        Err(fault) => assert!(fault.line >= 1 && !fault.reason.is_empty()),
    }
});
