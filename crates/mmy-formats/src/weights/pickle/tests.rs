//! Instructions one by one; whole checkpoints are tested with the containers.

use super::*;

fn run(pickle: &[u8]) -> Result<(Value, Values), String> {
    let limits = Limits { bytes: 1 << 20, values: 1000 };
    let (root, values) = read(&mut &pickle[..], limits).map_err(|it| it.to_string())?;
    Ok((values.get(root).clone(), values))
}

fn check(pickle: &[u8], expect: Value) {
    assert_eq!(run(pickle).map(|it| it.0), Ok(expect), "{}", pickle.escape_ascii());
}

fn fails(pickle: &[u8], expect: &str) {
    let text = run(pickle).unwrap_err();
    assert!(text.contains(expect), "{}: {text}", pickle.escape_ascii());
}

#[test]
fn plain_values() {
    check(b"N.", Value::None);
    check(b"I01\n.", Value::Bool(true));
    check(b"\x80\x05\x89.", Value::Bool(false));
    check(b"I-12\n.", Value::Int(-12));
    check(b"L12L\n.", Value::Int(12));
    check(b"J\xFE\xFF\xFF\xFF.", Value::Int(-2));
    check(b"M\x00\x01.", Value::Int(256));
    check(b"\x8a\x02\x00\xFF.", Value::Int(-256));
    check(b"\x8a\x00.", Value::Int(0));
    check(b"\x8a\x09123456789.", Value::Opaque);
    check(b"I123456789012345678901\n.", Value::Opaque);
    check(b"F1.5\n.", Value::Float(1.5));
    check(b"G\x3F\xF8\x00\x00\x00\x00\x00\x00.", Value::Float(1.5));
    check(b"S'ab'\n.", Value::Text("ab".into()));
    check(b"X\x02\x00\x00\x00ab.", Value::Text("ab".into()));
    check(b"\x8c\x02\xFF\xFE.", Value::Text("\u{FFFD}\u{FFFD}".into()));
    check(b"C\x02ab.", Value::Opaque);
}

#[test]
fn values_in_values() {
    let (root, values) = run(b"\x80\x02]q\x00(K\x01K\x02K\x03\x86e.").unwrap();
    let Value::List(items) = root else { panic!("{root:?}") };
    assert_eq!((items.len(), values.elements(items[1]).len()), (2, 2));
    let (root, values) = run(b"(S'a'\nK\x01dS'b'\nN.").unwrap();
    assert_eq!((root, values.0.len()), (Value::None, 7));
    // A list that holds itself costs what one costs.
    let (root, _) = run(b"]q\x00h\x00a.").unwrap();
    assert_eq!(root, Value::List(vec![Id(3)]));
}

#[test]
fn objects_are_kept_and_not_made() {
    let (root, values) = run(b"cos\nsystem\n(S'rm -rf /'\ntR}S'a'\nK\x01sb.").unwrap();
    let Value::Object(object) = root else { panic!("{root:?}") };
    let name = Name { module: "os".into(), name: "system".into() };
    assert_eq!(*values.get(object.class), Value::Global(Box::new(name)));
    assert_eq!(values.text(values.elements(object.args)[0]), Some("rm -rf /"));
    assert!(values.under(object.state.unwrap(), "a").is_some());
    for pickle in [&b"(cx\nY\nK\x01o."[..], b"(K\x01ix\nY\n.", b"cx\nY\n)\x81.", b"\x8c\x01x\x8c\x01Y\x93)}\x92."] {
        assert!(matches!(run(pickle).unwrap().0, Value::Object(_)), "{}", pickle.escape_ascii());
    }
    let (root, _) = run(b"ccollections\nOrderedDict\n)R(S'a'\nNu.").unwrap();
    assert!(matches!(root, Value::Dict(pairs) if pairs.len() == 1));
}

#[test]
fn what_makes_no_sense_is_an_error() {
    fails(b"", "ends early");
    fails(b"N", "ends early");
    fails(b"X\xFF\xFF\x00\x00ab", "ends early");
    fails(b"X\xFF\xFF\xFF\xFFab", "the pickle is too long");
    fails(b"\x8d\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFFab", "the pickle is too long");
    fails(b".", "byte 0 of the pickle: a value is missing on the stack");
    fails(b"NR.", "a value is missing");
    fails(b"N(R.", "a value is missing");
    fails(b"Nt.", "a mark is missing");
    fails(b"h\x05.", "entry 5 of the memo was never written");
    fails(b"(Nd.", "a key without a value");
    fails(b"NNNs.", "no dictionary");
    fails(b"\x80\x09.", "protocol 9");
    fails(b"\xFF.", "0xff is no instruction");
    fails(b"\x82\x01.", "extension registry");
    fails(b"Px\n.", "persistent name in text form");
    fails(b"NQ.", "a persistent name that is not PyTorch's");
}

#[test]
fn values_without_number_are_an_error() {
    let limit = "more values than any checkpoint has";
    fails(&[b"]".repeat(2000), b".".to_vec()].concat(), limit);
    fails(&[b"N".repeat(2000), b".".to_vec()].concat(), limit);
    fails(&[b"(".repeat(2000), b".".to_vec()].concat(), limit);
    let memo: Vec<u8> = (0..2000u32).flat_map(|it| [b"r".as_slice(), &it.to_le_bytes()].concat()).collect();
    fails(&[b"N", memo.as_slice(), b"."].concat(), limit);
    // Each call copies a list of pairs that is there once.
    let pairs = [b"](".as_slice(), &b"NN\x86".repeat(400), b"e\x85q\x00"].concat();
    let calls = b"0ccollections\nOrderedDict\nh\x00R".repeat(10);
    fails(&[pairs, calls, b".".to_vec()].concat(), limit);
    // Depth costs no stack of ours.
    let deep = [b"]".repeat(900), b"a".repeat(899), b".".to_vec()].concat();
    assert!(run(&deep).is_ok());
}
