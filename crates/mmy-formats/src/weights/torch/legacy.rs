//! What `torch.save` wrote before PyTorch 1.6: a number, a version, facts on the machine, the object, the keys of the
//! storages, each a pickle; then each storage with its size in front.

use std::{
    collections::HashMap,
    io::{BufReader, Read, Seek, SeekFrom},
};

use super::{
    super::{
        Choice, Format, Place, Weights, WeightsError,
        pickle::{self, Limits, Value, Values},
        state,
    },
    placed, size,
};

pub(in super::super) fn open<R: Read + Seek>(
    reader: R,
    length: u64,
    choice: &Choice,
) -> Result<Weights<R>, WeightsError> {
    const FORMAT: Format = Format::TorchLegacy;
    let bad = |reason: String| FORMAT.broken(reason);
    let mut reader = BufReader::new(reader);
    let mut next = |limits| pickle::read(&mut reader, limits).map_err(|it| bad(it.to_string()));
    let small = Limits { bytes: 1 << 20, values: 1 << 16 };
    // The magic number was seen before this was called.
    next(small)?;
    let (version, values) = next(small)?;
    if *values.get(version) != Value::Int(1001) {
        return Err(bad(format!("its version is {:?}, only 1001 is known", values.get(version))));
    }
    let (system, values) = next(small)?;
    if values.under(system, "little_endian").is_some_and(|it| *values.get(it) == Value::Bool(false)) {
        return Err(bad("its numbers are written in big-endian order, which is not read".into()));
    }
    let (root, values) = next(Limits::DEFAULT)?;
    let (keys, key_values) = next(Limits::DEFAULT)?;
    let keys: Option<Vec<_>> = key_values.elements(keys).iter().map(|&it| key_values.text(it)).collect();
    let keys = keys.ok_or_else(|| bad("a key of a storage that is no text".into()))?;

    // A storage's size stands in front of it as a count; what is counted, the object says.
    let widths = widths(&values);
    let mut at = reader.stream_position()?;
    let mut places = HashMap::new();
    for key in keys {
        let torn = |it: std::io::Error| match it.kind() {
            std::io::ErrorKind::UnexpectedEof => bad(format!("it ends before the storage `{key}`")),
            _ => it.into(),
        };
        let mut count = [0; 8];
        reader.read_exact(&mut count).map_err(torn)?;
        let count = u64::from_le_bytes(count);
        let bytes = widths.get(key).and_then(|&width| count.checked_mul(width));
        let bytes = bytes.ok_or_else(|| bad(format!("nothing tells the size of the storage `{key}`")))?;
        let start = at + 8;
        at = start
            .checked_add(bytes)
            .filter(|it| *it <= length)
            .ok_or_else(|| bad(format!("it ends within the storage `{key}`, which is to have {count} numbers")))?;
        if places.insert(key, Place::Plain { start, length: bytes }).is_some() {
            return Err(bad(format!("the storage `{key}` is there twice")));
        }
        reader.seek(SeekFrom::Start(at))?;
    }
    let found = state::find(&values, root, choice, FORMAT)?;
    let (tensors, places) = placed(found.tensors, FORMAT, |key| {
        places.get(key).copied().ok_or_else(|| bad(format!("the storage `{key}` is not in the file")))
    })?;
    let (metadata, origin) = (HashMap::new(), found.origin);
    let reader = reader.into_inner();
    Ok(Weights { reader, format: FORMAT, tensors, places, metadata, origin, inflated: None })
}

/// Bytes of one number of each storage. Kinds that are not read have to be passed over all the same.
fn widths(values: &Values) -> HashMap<&str, u64> {
    let mut out = HashMap::new();
    for value in values.iter() {
        if let Value::Storage(storage) = value {
            let width = storage.dtype.and_then(|it| size(1, it)).or(match &*storage.class {
                "QInt8Storage" | "QUInt8Storage" => Some(1),
                "QInt32Storage" => Some(4),
                "ComplexDoubleStorage" => Some(16),
                _ => None,
            });
            out.extend(width.map(|it| (&*storage.key, it)));
        }
    }
    out
}
