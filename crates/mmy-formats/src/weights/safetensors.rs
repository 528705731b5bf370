//! The header of a safetensors file.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    io::{Read, Seek},
};

use safetensors::Dtype;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};

use super::{Choice, Format, Origin, Place, TensorInfo, Weights, WeightsError};

/// Longest header that is read, in bytes; the format's own limit.
const MAX_HEADER: u64 = 100_000_000;

pub(super) fn open<R: Read + Seek>(mut reader: R, length: u64, choice: &Choice) -> Result<Weights<R>, WeightsError> {
    let bad = |reason: String| Format::Safetensors.broken(reason);
    if choice.key.is_some() {
        return Err(WeightsError::Absent("a safetensors file has no parts to choose from".into()));
    }
    if length < 8 {
        return Err(bad(format!("{length} bytes do not hold a header")));
    }
    let mut size = [0; 8];
    reader.read_exact(&mut size)?;
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER || size > length - 8 {
        return Err(bad(format!("a header of {size} bytes in a file of {length}")));
    }
    let mut json = vec![0; size as usize];
    reader.read_exact(&mut json)?;
    let Header { mut rows, metadata } = serde_json::from_slice(&json).map_err(|it| bad(format!("its header: {it}")))?;
    drop(json);

    // The numbers follow one another without a gap, so that none is shared and nothing hides between them.
    rows.sort_by_key(|it| it.1.data_offsets);
    let (mut tensors, mut places, mut at) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()), 0);
    for (name, row) in rows {
        let (start, end) = row.data_offsets;
        if start != at || end < start {
            return Err(bad(format!("`{name}` lies at {start}..{end} where {at} is the next free byte")));
        }
        at = end;
        let bits = row.shape.iter().try_fold(row.dtype.bitsize(), |n, &size| n.checked_mul(size));
        if bits.is_none_or(|it| it % 8 != 0 || (it / 8) as u64 != end - start) {
            let bytes = end - start;
            return Err(bad(format!("`{name}`: {bytes} bytes do not hold {} of {:?}", row.dtype, row.shape)));
        }
        let mut stride = vec![1; row.shape.len()];
        for d in (1..row.shape.len()).rev() {
            // Beyond a zero the product may leave the numbers; such a tensor is never read.
            stride[d - 1] = u64::saturating_mul(stride[d], row.shape[d] as u64);
        }
        tensors.push(TensorInfo { name, dtype: row.dtype, storage: places.len(), shape: row.shape, offset: 0, stride });
        places.push(Place::Plain { start: 8 + size + start, length: end - start });
    }
    if at != length - 8 - size {
        return Err(bad(format!("the header tells of {at} bytes of numbers, the file has {}", length - 8 - size)));
    }
    let origin = Origin::default();
    Ok(Weights { reader, format: Format::Safetensors, tensors, places, metadata, origin, inflated: None })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    dtype: Dtype,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// Read by hand, since derived maps take the last of two equal names and say nothing.
struct Header {
    rows: Vec<(String, Row)>,
    metadata: HashMap<String, String>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rows;
        impl<'de> Visitor<'de> for Rows {
            type Value = Header;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tensors by name")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header { rows: Vec::new(), metadata: HashMap::new() };
                let mut seen = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        header.metadata = map.next_value()?;
                    } else {
                        let row = map.next_value::<Row>().map_err(|it| A::Error::custom(format!("`{name}`: {it}")))?;
                        header.rows.push((name.clone(), row));
                    }
                    if seen.contains(&name) {
                        return Err(A::Error::custom(format!("`{name}` is there twice")));
                    }
                    seen.insert(name);
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Rows)
    }
}
