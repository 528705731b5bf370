//! Files that PyTorch wrote, and files that mean harm.

use std::{
    fs,
    io::{Cursor, Write as _},
    path::PathBuf,
};

use serde_json::Value;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::*;

/// Files that `tests/fixtures/weights/make.py` wrote.
fn fixture(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/weights");
    fs::read(folder.join(name)).unwrap()
}

fn open(bytes: &[u8], key: Option<&str>) -> Result<Weights<Cursor<Vec<u8>>>, WeightsError> {
    Weights::open(Cursor::new(bytes.to_vec()), &Choice { key: key.map(str::to_owned) })
}

/// Opens a file and reads all of it; yields the error's text.
fn error(bytes: &[u8]) -> String {
    let read = |mut it: Weights<_>| (0..it.tensors().len()).try_for_each(|at| it.read(at).map(drop));
    open(bytes, None).and_then(read).unwrap_err().to_string()
}

const DTYPES: [(&str, Dtype); 13] = [
    ("float32", Dtype::F32),
    ("float64", Dtype::F64),
    ("float16", Dtype::F16),
    ("bfloat16", Dtype::BF16),
    ("int64", Dtype::I64),
    ("int32", Dtype::I32),
    ("int16", Dtype::I16),
    ("int8", Dtype::I8),
    ("uint8", Dtype::U8),
    ("bool", Dtype::BOOL),
    ("complex64", Dtype::C64),
    ("uint16", Dtype::U16),
    ("float8_e4m3fn", Dtype::F8_E4M3),
];

/// A tensor as `expected.json` tells of it: name, kind, shape, numbers.
type Row = (String, Dtype, Vec<usize>, Vec<u8>);

fn rows(list: &Value) -> Vec<Row> {
    let row = |it: &Value| {
        let dtype = DTYPES.iter().find(|row| row.0 == it[1].as_str().unwrap()).unwrap().1;
        let shape = it[2].as_array().unwrap().iter().map(|it| it.as_u64().unwrap() as usize).collect();
        let hex = it[3].as_str().unwrap();
        let bytes = (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        (it[0].as_str().unwrap().to_owned(), dtype, shape, bytes)
    };
    list.as_array().unwrap().iter().map(row).collect()
}

#[test]
fn what_pytorch_wrote_is_read() {
    let expected: Value = serde_json::from_slice(&fixture("expected.json")).unwrap();
    for (file, parts) in expected.as_object().unwrap() {
        for (at, (part, list)) in parts.as_object().unwrap().iter().enumerate() {
            let mut weights = open(&fixture(file), (at > 0).then_some(part.as_str())).unwrap();
            assert_eq!(weights.origin().taken, *part, "{file}: the first part is the one that nobody has to ask for");
            let names: Vec<_> = weights.tensors().iter().map(|it| it.name.clone()).collect();
            let found: Vec<Row> = (names.into_iter().enumerate())
                .map(|(at, name)| {
                    let bytes = weights.read(at).unwrap();
                    (name, weights.tensors()[at].dtype, weights.tensors()[at].shape.clone(), bytes)
                })
                .collect();
            assert_eq!(found, rows(list), "{file} {part}");
        }
    }
}

#[test]
fn a_file_tells_where_its_tensors_are() {
    let origin = |name| open(&fixture(name), None).unwrap().origin().clone();
    let it = origin("mmyolo.pth");
    assert_eq!((it.taken.as_str(), it.classes), ("state_dict", vec!["cat".to_owned(), "dog".into()]));
    assert_eq!(it.others, [("ema_state_dict".to_owned(), 7)]);
    let it = origin("module.pt");
    assert_eq!((it.taken.as_str(), it.classes), ("ema", vec!["person".to_owned(), "bicycle".into()]));
    assert_eq!(it.others, [("model".to_owned(), 25)]);
    assert_eq!(origin("wrapped.pth.tar").stripped, Some("module."));
    assert!(origin("harm.pth").names.contains(&"posix.system".to_owned()));
    let shared = open(&fixture("kinds.pth"), None).unwrap();
    let storage = |name| shared.tensors().iter().find(|it| it.name == name).unwrap().storage;
    assert_eq!(storage("shared_a"), storage("shared_b"));
    let absent = open(&fixture("mmyolo.pth"), Some("model")).unwrap_err().to_string();
    assert_eq!(absent, "there is no `model` with tensors in it; it has `state_dict`, `ema_state_dict`");
}

#[test]
fn what_is_something_else_is_named() {
    let check = |bytes: &[u8], expect: &str| {
        let text = error(bytes);
        assert!(text.contains(expect), "{text}");
    };
    check(b"", "the file is empty");
    check(b"\n<!DOCTYPE html><html>", "HTML page");
    check(b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer");
    check(b"\x1f\x8b\x08", "gzip");
    check(b"\x80\x04\x95", "a pickle that `torch.save` did not write");
    check(b"\x89HDF\r\n\x1a\n", "HDF5");
    check(&[&[b'a'; 257][..], b"ustar\0"].concat(), "tar archive");
    check(b"import torch\n", "another format");
    check(&fixture("script.pt"), "a TorchScript program");
}

#[test]
fn torn_files_are_errors() {
    for name in ["kinds.pth", "legacy.pth", "deflated.pth", "module.pt"] {
        let whole = fixture(name);
        for at in (0..whole.len()).step_by(13) {
            let text = error(&whole[..at]);
            assert!(text.starts_with("not a sound ") || text.starts_with("neither "), "{name}, {at} bytes: {text}");
        }
    }
}

/// Any byte may be wrong: an error or tensors, never a panic.
#[test]
fn damaged_files_do_no_harm() {
    for name in ["kinds.pth", "legacy.pth", "deflated.pth", "mmyolo.pth", "module.pt"] {
        let whole = fixture(name);
        for at in (0..whole.len()).step_by(3) {
            let mut broken = whole.clone();
            broken[at] ^= 1 << (at % 8);
            if let Ok(mut weights) = open(&broken, None) {
                for at in 0..weights.tensors().len() {
                    let _ = weights.read(at);
                }
            }
        }
    }
}

/// A zip archive of these entries.
fn archive(entries: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A checkpoint of one tensor `w` of float32 over a storage of `numel` numbers and `bytes` bytes.
fn one_tensor(numel: i32, bytes: usize, offset: i32, size: &[i32], stride: &[i32]) -> Vec<u8> {
    let int = |it: i32| [b"J".as_slice(), &it.to_le_bytes()].concat();
    let tuple = |items: &[i32]| {
        let items: Vec<u8> = items.iter().flat_map(|&it| int(it)).collect();
        [b"(", items.as_slice(), b"t"].concat()
    };
    let pickle = [
        b"\x80\x02}U\x01wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpu"
            .as_slice(),
        &int(numel),
        b"tQ",
        &int(offset),
        &tuple(size),
        &tuple(stride),
        b"\x89}tRs.",
    ];
    archive(&[("a/data.pkl", &pickle.concat()), ("a/data/0", &vec![0; bytes])], CompressionMethod::Stored)
}

#[test]
fn tensors_stay_within_their_storages() {
    let numbers = |it: &[u8]| open(it, None).unwrap().read(0).unwrap().len() / 4;
    assert_eq!(numbers(&one_tensor(6, 24, 0, &[2, 3], &[3, 1])), 6);
    assert_eq!(numbers(&one_tensor(6, 24, 5, &[1, 1], &[99, 99])), 1);
    assert_eq!(numbers(&one_tensor(0, 0, 7, &[0, i32::MAX, i32::MAX, i32::MAX], &[1, 1, 1, 1])), 0);
    let check = |bytes: Vec<u8>, expect: &str| {
        let text = error(&bytes);
        assert!(text.contains(expect), "{text}");
    };
    check(one_tensor(6, 24, 1, &[2, 3], &[3, 1]), "`w` reaches beyond its 24 bytes");
    check(one_tensor(6, 24, 0, &[2], &[6]), "reaches beyond");
    check(one_tensor(7, 24, 0, &[1], &[1]), "its 24 bytes do not hold them");
    check(one_tensor(-1, 24, 0, &[1], &[1]), "negative");
    check(one_tensor(6, 24, -1, &[1], &[1]), "negative");
    check(one_tensor(6, 24, 0, &[-2], &[1]), "negative");
    check(one_tensor(6, 24, 0, &[2], &[-1]), "negative");
    check(one_tensor(6, 24, 0, &[2, 3], &[1]), "do not fit together");
    check(one_tensor(6, 24, 0, &[1; 65], &[1; 65]), "do not fit together");
    check(one_tensor(6, 24, 0, &[i32::MAX; 4], &[i32::MAX; 4]), "reaches beyond");
    // A view that repeats one number; more often than any memory holds, or just more than a file of its size should.
    check(one_tensor(6, 24, 0, &[i32::MAX; 4], &[0; 4]), "reaches beyond");
    check(one_tensor(6, 24, 0, &[20_000, 20_000], &[0, 0]), "its tensors would take 1600000000 bytes");
}

#[test]
fn archives_that_are_bombs_are_errors() {
    let check = |bytes: Vec<u8>, expect: &str| {
        let text = error(&bytes);
        assert!(text.contains(expect), "{text}");
    };
    let zeros = vec![0; 4 << 20];
    check(archive(&[("a/data.pkl", &zeros)], CompressionMethod::Deflated), "is said to inflate from");
    check(archive(&[("a/data.pkl", b"."), ("b/data.pkl", b".")], CompressionMethod::Stored), "several checkpoints");
    check(archive(&[("a/x", b".")], CompressionMethod::Stored), "without a `data.pkl`");
    let order = [("a/data.pkl", b"N.".as_slice()), ("a/byteorder", b"big")];
    check(archive(&order, CompressionMethod::Stored), "big-endian");
    // The same name twice: the names are swapped in the finished bytes, since no writer does it.
    let mut twice = archive(&[("a/data.pkl", b"N."), ("b/data.pkl", b"N.")], CompressionMethod::Stored);
    for at in 0..twice.len() - 10 {
        if twice[at..].starts_with(b"b/data.pkl") {
            twice[at] = b'a';
        }
    }
    check(twice, "two entries have the same name");
    // A header whose size is a lie.
    let mut lie = archive(&[("a/data.pkl", &zeros[..99])], CompressionMethod::Stored);
    let at = lie.windows(4).position(|it| it == b"PK\x01\x02").unwrap() + 24;
    lie[at..at + 4].copy_from_slice(&0x7FFF_FFFFu32.to_le_bytes());
    check(lie, "not a sound PyTorch checkpoint");
}

#[test]
fn no_tensors_is_an_error_that_says_so() {
    let check = |pickle: &[u8], expect: &str| {
        let text = error(&archive(&[("a/data.pkl", pickle)], CompressionMethod::Stored));
        assert!(text.contains(expect), "{text}");
    };
    check(b"cos\nsystem\n(S'touch HARM'\ntR.", "there is no tensor in it");
    check(b"}.", "there is no tensor in it");
    check(b"N.", "there is no tensor in it");
}

/// A module that holds itself, and one whose ten levels hold the next one ten times each.
#[test]
fn modules_without_an_end_are_errors() {
    let check = |pickle: &[u8]| {
        let text = error(&archive(&[("a/data.pkl", pickle)], CompressionMethod::Stored));
        assert!(text.contains("modules within modules") || text.contains("more tensors and modules"), "{text}");
    };
    check(b"\x80\x02cx\nM\n)\x81q\x00}(U\x0b_parameters}U\x08_modules}U\x01ah\x00subh\x00.".as_slice());
    let mut wide = b"\x80\x02cx\nM\n)\x81}(U\x0b_parameters}U\x08_modules}ubq\x00".to_vec();
    for _ in 0..10 {
        wide.extend(b"0cx\nM\n)\x81}(U\x0b_parameters}U\x08_modules}(");
        (0..10u8).for_each(|it| wide.extend([b'U', 1, b'0' + it, b'h', 0]));
        wide.extend(b"uubq\x00");
    }
    wide.push(b'.');
    check(&wide);
}

#[test]
fn safetensors_headers_that_lie_are_errors() {
    let file = |json: &str, data: usize| {
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.as_bytes());
        bytes.extend(vec![0; data]);
        bytes
    };
    let row = |name: &str, dtype: &str, shape: &str, from: u64, to: u64| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    let check = |bytes: Vec<u8>, expect: &str| {
        let text = error(&bytes);
        assert!(text.contains(expect), "{text}");
    };
    let one = |dtype, shape, from, to, data| file(&format!("{{{}}}", row("w", dtype, shape, from, to)), data);
    assert!(open(&one("F32", "[4]", 0, 16, 16), None).is_ok());
    assert!(open(&one("F32", "[]", 0, 4, 4), None).is_ok());
    check(one("F32", "[4]", 0, 16, 15), "tells of 16 bytes of numbers, the file has 15");
    check(one("F32", "[4]", 0, 16, 17), "tells of 16 bytes of numbers, the file has 17");
    check(one("F32", "[5]", 0, 16, 16), "16 bytes do not hold F32 of [5]");
    check(one("F32", "[4294967296,4294967296,4294967296]", 0, 0, 0), "do not hold");
    check(one("F32", "[-1]", 0, 4, 4), "`w`: invalid value");
    check(one("F33", "[1]", 0, 4, 4), "`w`: unknown variant");
    check(one("F4", "[2]", 0, 1, 1), "which is not read");
    check(one("F32", "[4]", 4, 20, 20), "where 0 is the next free byte");
    check(one("F32", "[4]", 16, 0, 16), "`w`");
    let two = |from: u64| format!("{{{},{}}}", row("a", "F32", "[2]", 0, 8), row("b", "F32", "[2]", from, from + 8));
    assert!(open(&file(&two(8), 16), None).is_ok());
    check(file(&two(4), 12), "where 8 is the next free byte");
    check(file(&two(12), 20), "where 8 is the next free byte");
    let twice = format!("{{{0},{0}}}", row("a", "F32", "[0]", 0, 0));
    check(file(&twice, 0), "`a` is there twice");
    check(file("{\"__metadata__\":{\"a\":3}}", 0), "its header");
    check(file("{{{", 0), "its header");
    check(file(&format!("{{\"a\":{}", "[".repeat(100_000)), 0), "its header");
    check((1u64 << 40).to_le_bytes().to_vec(), "a header of 1099511627776 bytes in a file of 8");
    check(5u64.to_le_bytes().to_vec(), "a header of 5 bytes");
    check(vec![0; 7], "too few");
}
