//! The reader of COCO files, strict and entry by entry: what the strict one takes, the other takes as a whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mmy_formats::coco;

fuzz_target!(|bytes: &[u8]| {
    let (strict, survey) = (coco::parse(bytes), coco::survey(bytes));
    if let Ok(file) = strict {
        let survey = survey.expect("a file that is sound as a whole");
        let lines = bytes.iter().filter(|it| **it == b'\n').count() + 1;
        assert_eq!(survey.images.len(), file.images.len());
        assert!(survey.images.iter().all(|it| it.value.is_ok() && (1..=lines).contains(&it.line)));
        assert!(survey.annotations.iter().all(|it| it.value.is_ok() && (1..=lines).contains(&it.line)));
        assert!(survey.categories.iter().all(|it| it.value.is_ok()));
    }
});
