//! The zip archive that `torch.save` writes since PyTorch 1.6.
//!
//! `NAME/data.pkl` is the pickle, `NAME/data/KEY` a storage, `NAME/byteorder` says `little` or `big`. PyTorch deflates
//! nothing, so that storages can be read where they lie; archives that somebody packed again are read too.

use std::{
    collections::HashMap,
    io::{BufReader, Cursor, Read, Seek, SeekFrom},
};

use zip::{CompressionMethod, ZipArchive};

use super::{
    super::{Choice, Format, Place, Weights, WeightsError, pickle, state},
    inflate, placed,
};

/// Entries of an archive; the largest models have some ten thousand tensors.
const MAX_ENTRIES: usize = 1 << 20;
/// Inflated bytes of one entry for each of its bytes. Weights hardly shrink; a bomb shrinks a thousandfold.
const MAX_RATIO: u64 = 100;

pub(in super::super) fn open<R: Read + Seek>(
    mut reader: R,
    length: u64,
    choice: &Choice,
) -> Result<Weights<R>, WeightsError> {
    let bad = |reason: String| Format::TorchZip.broken(reason);
    let places = entries(&mut reader, length)?;
    let mut pickles = places.keys().filter_map(|it| it.strip_suffix("data.pkl"));
    let pickles = pickles.by_ref().filter(|it| it.is_empty() || it.find('/') == Some(it.len() - 1));
    let folder = match pickles.collect::<Vec<_>>()[..] {
        [one] => one.to_owned(),
        [] => return Err(bad("a zip archive without a `data.pkl`: no checkpoint of PyTorch's".into())),
        _ => return Err(bad("a zip archive with several checkpoints in it".into())),
    };
    if places.keys().any(|it| it.strip_prefix(folder.as_str()).is_some_and(|it| it.starts_with("code/"))) {
        return Err(WeightsError::Foreign(
            "it is a TorchScript program: save the model's `state_dict()` with `torch.save`".into(),
        ));
    }
    if let Some(&place) = places.get(&format!("{folder}byteorder")) {
        let order = entry(&mut reader, place, 16)?;
        if order.trim_ascii() != b"little" {
            let order = String::from_utf8_lossy(&order).into_owned();
            return Err(bad(format!("its numbers are written in {order}-endian order, which is not read")));
        }
    }
    let pickle = entry(&mut reader, places[&format!("{folder}data.pkl")], pickle::Limits::DEFAULT.bytes)?;
    let (root, values) =
        pickle::read(&mut Cursor::new(pickle), pickle::Limits::DEFAULT).map_err(|it| bad(it.to_string()))?;
    let found = state::find(&values, root, choice, Format::TorchZip)?;
    let (tensors, places) = placed(found.tensors, Format::TorchZip, |key| {
        let place = places.get(&format!("{folder}data/{key}"));
        place.copied().ok_or_else(|| bad(format!("the storage `{key}` is not in the archive")))
    })?;
    let inflated: u64 = places.iter().filter(|it| matches!(it, Place::Deflated { .. })).map(|it| it.length()).sum();
    if inflated > length.saturating_mul(8).saturating_add(64 << 20) {
        return Err(bad(format!("a file of {length} bytes that inflates to {inflated}")));
    }
    let (metadata, origin) = (HashMap::new(), found.origin);
    Ok(Weights { reader, format: Format::TorchZip, tensors, places, metadata, origin, inflated: None })
}

/// Where each entry's bytes are, by name.
fn entries<R: Read + Seek>(reader: &mut R, length: u64) -> Result<HashMap<String, Place>, WeightsError> {
    let bad = |reason: String| Format::TorchZip.broken(reason);
    let zip = |error: zip::result::ZipError| bad(format!("the zip archive is torn or damaged: {error}"));
    let mut archive = ZipArchive::new(BufReader::new(reader)).map_err(zip)?;
    if archive.len() > MAX_ENTRIES {
        return Err(bad(format!("{} entries are more than any checkpoint has", archive.len())));
    }
    if archive.has_duplicate_names() {
        return Err(bad("two entries have the same name".into()));
    }
    if archive.has_overlapping_entries().map_err(zip)? {
        return Err(bad("entries overlap".into()));
    }
    let mut places = HashMap::with_capacity(archive.len());
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(zip)?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        if entry.encrypted() {
            return Err(bad(format!("`{name}` is encrypted")));
        }
        let (start, packed, size) = (entry.data_start(), entry.compressed_size(), entry.size());
        let start = start.ok_or_else(|| bad(format!("`{name}` has no place")))?;
        if start.checked_add(packed).is_none_or(|it| it > length) {
            return Err(bad(format!("`{name}` reaches beyond the end of the file")));
        }
        let place = match entry.compression() {
            CompressionMethod::Stored if packed == size => Place::Plain { start, length: size },
            CompressionMethod::Deflated if size <= packed.saturating_mul(MAX_RATIO) => {
                Place::Deflated { start, length: packed, inflated: size }
            }
            CompressionMethod::Deflated => {
                return Err(bad(format!("`{name}` is said to inflate from {packed} bytes to {size}")));
            }
            other => return Err(bad(format!("`{name}` of {size} bytes is packed as {other}, {packed} bytes"))),
        };
        places.insert(name, place);
    }
    Ok(places)
}

/// A whole entry.
fn entry(reader: &mut (impl Read + Seek), place: Place, most: u64) -> Result<Vec<u8>, WeightsError> {
    if place.length() > most {
        return Err(Format::TorchZip.broken(format!("an entry of {} bytes, where {most} are enough", place.length())));
    }
    match place {
        Place::Plain { start, length } => {
            let mut bytes = vec![0; length as usize];
            reader.seek(SeekFrom::Start(start))?;
            reader.read_exact(&mut bytes)?;
            Ok(bytes)
        }
        Place::Deflated { .. } => inflate(reader, place).map_err(|it| Format::TorchZip.broken(it)),
    }
}
