//! The reader of Pascal VOC files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mmy_formats::voc;

fuzz_target!(|text: &str| {
    let lines = text.bytes().filter(|it| *it == b'\n').count() as u32 + 1;
    match voc::parse(text) {
        Ok(xml) => {
            for it in xml.objects {
                let line = it.map_or_else(|fault| fault.line, |object| object.line);
                assert!((1..=lines).contains(&line), "line {line} of {lines}");
            }
        }
        Err(fault) => assert!(!fault.reason.is_empty()),
    }
});
