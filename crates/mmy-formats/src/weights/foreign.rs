//! What a file is, by its first bytes.

use super::{Format, WeightsError};

/// The pickled number that every `torch.save` file before PyTorch 1.6 begins with.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// Decides from the first 512 bytes.
pub(super) fn format(head: &[u8], length: u64) -> Result<Format, WeightsError> {
    if head.starts_with(LEGACY) {
        return Ok(Format::TorchLegacy);
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Ok(Format::TorchZip);
    }
    // Eight bytes of length, then JSON; the writer may have put blanks in front of it.
    if let [_, _, _, _, _, _, high, highest, rest @ ..] = head {
        let json = rest.trim_ascii_start();
        if (*high, *highest) == (0, 0) && (json.is_empty() || json.starts_with(b"{")) {
            return Ok(Format::Safetensors);
        }
    }
    let lower = head.trim_ascii_start().to_ascii_lowercase();
    let what = match head {
        [] => "the file is empty".into(),
        _ if lower.starts_with(b"<!doctype") || lower.starts_with(b"<html") => {
            "it is an HTML page, so the download did not give the file itself".into()
        }
        _ if head.starts_with(b"version https://git-lfs") => {
            "it is a Git LFS pointer: fetch the file itself with `git lfs pull`".into()
        }
        [0x1F, 0x8B, ..] => "it is compressed with gzip: unpack it first".into(),
        _ if head.get(257..262) == Some(b"ustar") => {
            "it is a tar archive: unpack it, and if PyTorch before 0.1.10 wrote it, save it again with a newer one"
                .into()
        }
        [0x89, b'H', b'D', b'F', ..] => "it is an HDF5 file".into(),
        [0x80, 2..=5, ..] => {
            "it is a pickle that `torch.save` did not write: load it in Python and save it with `torch.save`".into()
        }
        _ if length < 8 => format!("{length} bytes are too few for either"),
        _ => "its beginning is that of another format, or damaged".into(),
    };
    Err(WeightsError::Foreign(what))
}
