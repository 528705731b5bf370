//! The reader of safetensors files: as files, and as headers that get the right length in front and zeros behind.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use mmy_formats::weights::{Choice, Weights, WeightsError};

fuzz_target!(|bytes: &[u8]| {
    let file = match bytes.split_first() {
        Some((&zeros, header)) if header.first() == Some(&b'{') => {
            [&(header.len() as u64).to_le_bytes()[..], header, &vec![0; zeros.into()]].concat()
        }
        _ => bytes.to_vec(),
    };
    let length = file.len();
    let mut weights = match Weights::open(Cursor::new(file), &Choice::default()) {
        Ok(weights) => weights,
        Err(WeightsError::Io(error)) => panic!("the file was read beyond its end: {error}"),
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let mut total = 0;
    for at in 0..weights.tensors().len() {
        let numbers = weights.read(at).expect("the numbers were held against the file");
        assert_eq!(numbers.len(), weights.tensors()[at].bytes());
        total += numbers.len();
    }
    assert!(total < length, "{total} bytes of tensors from {length}");
});
