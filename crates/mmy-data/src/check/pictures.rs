//! The pictures themselves.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    hash::{DefaultHasher, Hasher},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use mmy_formats::picture::{ENDINGS, Picture};
use rayon::prelude::*;

use super::{Finding, Level, Survey};

/// What is known of a picture file.
struct Seen {
    /// `(height, width)` as stored, or what is wrong with it.
    shape: Result<(usize, usize), String>,
    /// Length and hash of the file, equal for equal files.
    content: (usize, u64),
}

pub(super) fn check(sets: &[(Vec<String>, Survey)], progress: &(dyn Fn(usize, usize) + Sync)) -> Vec<Finding> {
    let mut paths: Vec<&Path> = sets.iter().flat_map(|it| &it.1.pictures).map(|it| it.path.as_path()).collect();
    paths.sort_unstable();
    paths.dedup();
    let done = AtomicUsize::new(0);
    let look = |pixels: &mut Vec<u8>, path: &&Path| {
        let seen = look(path, pixels);
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, paths.len());
        seen
    };
    let seen: Vec<_> = paths.par_iter().map_init(Vec::new, look).collect();
    let seen: HashMap<_, _> = paths.iter().copied().zip(seen).collect();

    let mut findings = Vec::new();
    let mut find = |level, code, file: &Path, line, text| {
        findings.push(Finding { level, code, file: file.to_owned(), line, text });
    };
    for listed in sets.iter().flat_map(|it| &it.1.pictures) {
        let (path, said) = (listed.path.as_path(), listed.shape);
        let at = || format!("listed in {}:{}", listed.place.0.display(), listed.place.1);
        match &seen[path].shape {
            Err(reason) if !path.exists() => {
                find(Level::Error, "image-missing", path, None, format!("{reason}; {}", at()));
            }
            Err(reason) => find(Level::Error, "image-broken", path, None, format!("{reason}; {}", at())),
            Ok(is) if said != (0, 0) && said != *is => {
                let text = format!(
                    "{} is {}×{}, not {}×{}, so that its boxes would be off: training leaves it out, a test ends",
                    path.display(),
                    is.1,
                    is.0,
                    said.1,
                    said.0
                );
                find(Level::Error, "image-size", &listed.place.0, Some(listed.place.1), text);
            }
            Ok(_) => {}
        }
    }
    for (first, other, why) in equal(sets, &seen) {
        find(Level::Warning, "image-twice", other, None, format!("the very same picture as {}{why}", first.display()));
    }
    let listed: HashSet<_> = paths.iter().copied().collect();
    let folders: HashSet<_> = sets.iter().flat_map(|it| &it.1.folders).collect();
    for folder in folders {
        match unlisted(folder, &listed) {
            Err(error) => find(Level::Error, "unreadable", folder, None, error.to_string()),
            Ok(left) if left.is_empty() => {}
            Ok(left) => {
                let some: Vec<_> = left.iter().take(3).map(|it| it.display().to_string()).collect();
                let dots = if left.len() > 3 { ", …" } else { "" };
                let text = format!("{} pictures that no annotation names: {}{dots}", left.len(), some.join(", "));
                find(Level::Note, "image-unlisted", folder, None, text);
            }
        }
    }
    findings
}

fn look(path: &Path, pixels: &mut Vec<u8>) -> Seen {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return Seen { shape: Err(error.to_string()), content: (0, 0) },
    };
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes);
    let shape = Picture::open(&bytes).and_then(|picture| {
        let (height, width) = picture.shape();
        // To be decoded for its faults alone; turned upright, as annotations have it.
        let turned = picture.is_turned();
        pixels.resize(height * width * Picture::CHANNELS, 0);
        picture.decode_into(pixels)?;
        Ok(if turned { (width, height) } else { (height, width) })
    });
    Seen { shape, content: (bytes.len(), hasher.finish()) }
}

/// Pairs of files with the same content, and what is bad about it.
fn equal<'a>(
    sets: &'a [(Vec<String>, Survey)],
    seen: &HashMap<&Path, Seen>,
) -> Vec<(&'a Path, &'a Path, &'static str)> {
    let mut by_content: BTreeMap<(usize, u64), Vec<(usize, &Path)>> = BTreeMap::new();
    for (set, (_, survey)) in sets.iter().enumerate() {
        for it in &survey.pictures {
            let Seen { shape: Ok(_), content } = &seen[it.path.as_path()] else { continue };
            by_content.entry(*content).or_default().push((set, &it.path));
        }
    }
    let mut out = Vec::new();
    for group in by_content.into_values() {
        let (first_set, first) = group[0];
        for &(set, path) in &group[1..] {
            let trains = |it: usize| sets[it].0.iter().any(|loader| loader.starts_with("train"));
            let why = match (set == first_set, trains(set) != trains(first_set)) {
                (true, _) if path == first => continue,
                (true, _) => "",
                (false, true) => ": it is both trained on and tested on",
                (false, false) => continue,
            };
            out.push((first, path, why));
        }
    }
    out
}

/// Pictures in a folder, and in those below it, that nobody lists.
fn unlisted(folder: &Path, listed: &HashSet<&Path>) -> std::io::Result<Vec<PathBuf>> {
    let (mut out, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        // Without a folder in front, paths are given as they are found below the current one.
        let here = folder.as_os_str().is_empty();
        for entry in fs::read_dir(if here { Path::new(".") } else { &folder })? {
            let entry = entry?;
            let (path, kind) = (folder.join(entry.file_name()), entry.file_type()?);
            let ending = path.extension().map(|it| it.to_string_lossy().to_lowercase());
            if kind.is_dir() {
                open.push(path);
            } else if ending.is_some_and(|it| ENDINGS.contains(&it.as_str())) && !listed.contains(path.as_path()) {
                out.push(path);
            }
        }
    }
    out.sort();
    Ok(out)
}
