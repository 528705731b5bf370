//! The reader of PyTorch's checkpoints: as files, and as pickles that are put into a sound archive, since few changed
//! bytes of an archive get as far as its pickle.
#![no_main]

use std::io::{Cursor, Write};

use libfuzzer_sys::fuzz_target;
use mmy_formats::weights::{Choice, Weights, WeightsError};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

fuzz_target!(|bytes: &[u8]| {
    match bytes.split_first() {
        Some((b'p', pickle)) => read(archive(pickle)),
        _ => read(bytes.to_vec()),
    }
});

/// Reads every tensor; memory is held by libFuzzer's own limits.
fn read(bytes: Vec<u8>) {
    let length = bytes.len();
    let mut weights = match Weights::open(Cursor::new(bytes), &Choice::default()) {
        Ok(weights) => weights,
        Err(WeightsError::Io(error)) => panic!("the file was read beyond its end: {error}"),
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let mut total = 0;
    for at in 0..weights.tensors().len() {
        let info = weights.tensors()[at].clone();
        if let Ok(numbers) = weights.read(at) {
            assert_eq!(numbers.len(), info.bytes());
            total += numbers.len();
        }
    }
    assert!(total <= length * 8 + (64 << 20), "{total} bytes of tensors from {length}");
}

fn archive(pickle: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, content) in [("a/data.pkl", pickle), ("a/data/0", &[1; 64]), ("a/data/1", &[])] {
        zip.start_file(name, stored).expect("a new name");
        zip.write_all(content).expect("memory");
    }
    zip.finish().expect("memory").into_inner()
}
