//! Opening, checking and unpacking wheels, which are zip files.

use std::{
    fs::{self, File},
    io::{self, BufReader, ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::Result;
use zip::{ZipArchive, result::ZipError};

use super::{cannot, parts::Requirement};

/// A wheel whose table of contents could be read, so that it is there to its end.
#[derive(Debug)]
pub struct Wheel {
    /// Its file.
    pub path: PathBuf,
    archive: ZipArchive<BufReader<File>>,
}

/// A wheel whose bytes are not what it promises: cut off, or changed on the way.
#[derive(Debug)]
pub struct Damaged {
    /// Its file.
    pub path: PathBuf,
    why: String,
}

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is damaged ({})", self.path.display(), self.why)
    }
}

impl std::error::Error for Damaged {}

/// The wheels in `dir` that meet a requirement.
pub fn find(dir: &Path, wanted: &Requirement) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // The release ends at a separator: `-` before the tags, `+` before a local label such as `+cpu`.
        let name = name.replacen("nvidia-cuda-", "nvidia_cuda_", 1);
        let whole = name
            .strip_prefix(wanted.file)
            .is_some_and(|rest| wanted.file.ends_with('.') || rest.starts_with(['-', '+']));
        if whole && name.ends_with(".whl") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

impl Wheel {
    /// Opens a wheel and reads its table of contents, which lies at its end.
    ///
    /// # Errors
    /// [`Damaged`], or what the disk said.
    pub fn open(path: &Path) -> Result<Self> {
        let context = || cannot("read", path);
        let file = File::open(path).map_err(|e| anyhow::Error::new(e).context(context()))?;
        let archive = ZipArchive::new(BufReader::new(file)).map_err(|e| damaged_or(e, path))?;
        Ok(Wheel { path: path.to_owned(), archive })
    }

    /// The names of its files.
    pub fn names(&self) -> Vec<String> {
        self.archive.file_names().flatten().map(|it| it.into_owned()).collect()
    }

    /// Writes the files to which `place` gives a place below `out`, each checked against its checksum, and counts them.
    ///
    /// # Errors
    /// [`Damaged`], or what the disk said.
    pub fn unpack(&mut self, out: &Path, place: impl Fn(&str) -> Option<PathBuf>) -> Result<usize> {
        let mut written = 0;
        let mut buffer = vec![0; 1 << 20];
        for index in 0..self.archive.len() {
            let mut entry = self.archive.by_index(index).map_err(|e| damaged_or(e, &self.path))?;
            // `enclosed_name` refuses names that lead out of the folder.
            let Some(name) = entry.enclosed_name().filter(|_| entry.is_file()) else { continue };
            let Some(to) = place(&name.to_string_lossy()) else { continue };
            let to = out.join(to);
            let write = || {
                fs::create_dir_all(to.parent().unwrap_or(out))?;
                File::create(&to)
            };
            let mut file = write().map_err(|e| full_or(e, &to))?;
            loop {
                let n = entry.read(&mut buffer).map_err(|e| damaged_or(e.into(), &self.path))?;
                if n == 0 {
                    break;
                }
                file.write_all(&buffer[..n]).map_err(|e| full_or(e, &to))?;
            }
            written += 1;
        }
        Ok(written)
    }
}

/// A read that fails in the archive's own terms means a damaged wheel; anything else is the disk's own trouble.
fn damaged_or(e: ZipError, path: &Path) -> anyhow::Error {
    const OF_THE_DATA: [ErrorKind; 4] =
        [ErrorKind::InvalidData, ErrorKind::InvalidInput, ErrorKind::UnexpectedEof, ErrorKind::Other];
    match e {
        ZipError::Io(e) if !OF_THE_DATA.contains(&e.kind()) => anyhow::Error::new(e).context(cannot("read", path)),
        e => Damaged { path: path.to_owned(), why: e.to_string() }.into(),
    }
}

fn full_or(e: io::Error, path: &Path) -> anyhow::Error {
    let full = e.kind() == ErrorKind::StorageFull;
    let e = anyhow::Error::new(e).context(cannot("write", path));
    if full { e.context("the disk is full: free 1.1 GB and run the command again") } else { e }
}
