//! The reader of COCO files that keeps everything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mmy_formats::coco;

fuzz_target!(|bytes: &[u8]| {
    match coco::parse_whole(bytes) {
        Ok(whole) => assert!(whole.annotations.iter().flat_map(|it| &it.outlines).all(|it| it.len() >= 3)),
        Err(fault) => assert!(fault.line >= 1 && !fault.reason.is_empty()),
    }
});
