//! Brings libtorch into the checkout.
//!
//! The wheel on the Python package index is the one source that is always there; pip fetches it with the user's own
//! settings, and from then on no Python is needed. Everything happens below `.libtorch/`: wheels are fetched into
//! `wheels/`, unpacked into `unpacking/`, and one rename puts the result in its place, so that whatever interrupts the
//! set-up, the place holds either a whole libtorch or nothing.

mod parts;
mod pip;
mod platform;
mod wheel;

use std::{
    env,
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use fs4::FileExt;
use mmy_libtorch::{DEFAULT_DIR, Libtorch, VERSION};

use crate::checkout::Checkout;
use parts::{Requirement, Take};
pub use pip::Pip;
use platform::Platform;
use wheel::{Damaged, Wheel};

/// Room for the wheel twice, since pip downloads it aside and then copies it.
pub const BYTES_TO_FETCH: u64 = 1_100_000_000;
/// Room for what is unpacked.
const BYTES_TO_UNPACK: u64 = 520_000_000;

/// What `setup --cuda` says.
pub const CUDA: &str = "\
error: fetching a CUDA libtorch is not built yet
  What works today: unpack one of release 2.13.0 yourself, or install the Python package torch==2.13.0, and say where:
    export LIBTORCH=/path/to/libtorch    (the folder that holds include/ and lib/)
    export LIBTORCH_USE_PYTORCH=1        (or this: the torch package of your python3)
";

/// Where libtorch goes in a checkout.
struct Home {
    /// `.libtorch`, which git ignores.
    dir: PathBuf,
    /// The finished libtorch.
    finished: PathBuf,
}

impl Home {
    fn of(root: &Path) -> Self {
        let finished = root.join(DEFAULT_DIR);
        let dir = finished.parent().unwrap_or(root).to_owned();
        Home { dir, finished }
    }

    fn wheels(&self) -> PathBuf {
        self.dir.join("wheels")
    }

    fn unpacking(&self) -> PathBuf {
        self.dir.join("unpacking")
    }

    /// pip's own temporary files: kept here, since `/tmp` is often too small for a big wheel.
    fn downloading(&self) -> PathBuf {
        self.dir.join("downloading")
    }
}

/// Sees to it that there is a libtorch to build against: the one that the user's environment names, the one of an
/// earlier set-up, the system's, or a fetched one.
pub fn run(checkout: &Checkout) -> Result<Libtorch> {
    let home = Home::of(&checkout.root);
    if named_by_user(&checkout.root) {
        return Ok(mmy_libtorch::find(|name| env::var_os(name))?);
    }
    if let Ok(libtorch) = mmy_libtorch::find_in(&home.finished) {
        return Ok(libtorch);
    }
    fs::create_dir_all(&home.dir).with_context(|| cannot("create", &home.dir))?;
    let _lock = lock(&home)?;
    // Another set-up may have finished while this one waited.
    if let Ok(libtorch) = mmy_libtorch::find_in(&home.finished) {
        return Ok(libtorch);
    }
    match system() {
        Some(system) => link(&home, &system)?,
        None => {
            let platform = Platform::here()?;
            let pip = Pip::find()?;
            eprintln!("libtorch {VERSION} is not here yet: about 540 MB are fetched once");
            fetch(&home, &mut |wheel| pip.download(&platform, wheel, &home.wheels(), &home.downloading()))?;
        }
    }
    Ok(mmy_libtorch::find_in(&home.finished)?)
}

/// Whether the environment names a libtorch other than the one that `.cargo/config.toml` sets for everybody.
pub fn named_by_user(root: &Path) -> bool {
    env::var_os("LIBTORCH_USE_PYTORCH").is_some()
        || env::var_os("LIBTORCH").is_some_and(|it| Path::new(&it) != root.join(DEFAULT_DIR))
}

/// The system's libtorch, when it is the right release.
fn system() -> Option<Libtorch> {
    mmy_libtorch::system_root()?;
    mmy_libtorch::find(|_| None).ok()
}

fn cannot(what: &str, path: &Path) -> String {
    format!("cannot {what} {}", path.display())
}

fn lock(home: &Home) -> Result<File> {
    let path = home.dir.join("lock");
    let file = File::create(&path).with_context(|| cannot("create", &path))?;
    if FileExt::try_lock(&file).is_err() {
        eprintln!("another set-up is at work in this checkout; waiting for it");
        FileExt::lock(&file).with_context(|| cannot("lock", &path))?;
    }
    Ok(file)
}

/// Fetches and unpacks. `download` brings the wheel of one of pip's requirements into `wheels/`.
fn fetch(home: &Home, download: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    fs::create_dir_all(home.wheels()).with_context(|| cannot("create", &home.wheels()))?;
    if let Err(e) = fetch_once(home, download) {
        // A wheel that was cut off while it was copied, or damaged on the disk: fetch it again, once.
        let damaged = e.downcast::<Damaged>()?;
        eprintln!("{damaged}; fetching it again");
        let _ = fs::remove_file(&damaged.path);
        fetch_once(home, download)?;
    }
    for spent in [home.wheels(), home.downloading()] {
        clear(&spent)?;
    }
    Ok(())
}

fn fetch_once(home: &Home, download: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    let torch = obtain(home, &parts::TORCH, BYTES_TO_FETCH, download)?;
    let take = Take::of_torch(torch.names().iter().map(String::as_str));
    let mut wheels = vec![(torch, take)];
    if let Take::CpuHalf = take {
        for (requirement, library) in parts::CUDA_PARTS {
            let wheel = obtain(home, &requirement, BYTES_TO_UNPACK, download)?;
            wheels.push((wheel, Take::Library(library)));
        }
    }
    enough_room(&home.dir, BYTES_TO_UNPACK)?;
    eprintln!("unpacking libtorch {VERSION} into {}", home.finished.display());
    let out = home.unpacking();
    clear(&out)?;
    for (wheel, take) in &mut wheels {
        if wheel.unpack(&out, |name| take.place(name))? == 0 {
            let path = wheel.path.clone();
            let _ = fs::remove_file(&path);
            bail!("{} holds nothing of libtorch", path.display());
        }
    }
    if let Take::CpuHalf = take {
        // For the linker alone: nothing needs it at run time.
        write(&out.join("lib/libtorch.so"), "INPUT(libtorch_cpu.so)\n")?;
    }
    finish(home, &out, VERSION)
}

/// The last word: the release, and the rename that puts a whole libtorch in its place.
fn finish(home: &Home, out: &Path, version: &str) -> Result<()> {
    write(&out.join("build-version"), &format!("{version}\n"))?;
    mmy_libtorch::find_in(out).context("what was found makes no whole libtorch")?;
    clear(&home.finished)?;
    fs::rename(out, &home.finished).with_context(|| cannot("rename to", &home.finished))
}

/// A wheel in `wheels/`: one that an earlier run fetched, or a new one.
fn obtain(home: &Home, wanted: &Requirement, room: u64, download: &mut dyn FnMut(&str) -> Result<()>) -> Result<Wheel> {
    let dir = home.wheels();
    for path in wheel::find(&dir, wanted)? {
        match Wheel::open(&path) {
            Ok(wheel) => {
                eprintln!("using {}, which is here already", path.display());
                return Ok(wheel);
            }
            // pip would take a file that is there for granted, where the index states no checksum.
            Err(_) => fs::remove_file(&path).with_context(|| cannot("remove", &path))?,
        }
    }
    enough_room(&home.dir, room)?;
    clear(&home.downloading())?;
    fs::create_dir_all(home.downloading()).with_context(|| cannot("create", &home.downloading()))?;
    download(wanted.pip)?;
    let Some(path) = wheel::find(&dir, wanted)?.pop() else {
        bail!("pip brought no wheel for {} into {}", wanted.pip, dir.display());
    };
    Wheel::open(&path)
}

/// The bytes that are free where `dir` lies.
pub fn free_bytes(dir: &Path) -> Option<u64> {
    let existing = dir.ancestors().find(|it| it.exists())?;
    fs4::available_space(existing).ok()
}

fn enough_room(dir: &Path, needed: u64) -> Result<()> {
    let gb = |bytes: u64| format!("{:.1} GB", bytes as f64 / 1e9);
    match free_bytes(dir) {
        Some(free) if free < needed => bail!(
            "the disk of {} has {} free, and the set-up needs {} for a while (0.5 GB afterwards): free some, or put \
             the checkout on a larger disk",
            dir.display(),
            gb(free),
            gb(needed)
        ),
        _ => Ok(()),
    }
}

/// Removes a folder, if it is there.
fn clear(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e).with_context(|| cannot("remove", dir)),
        _ => Ok(()),
    }
}

/// A system's libtorch needs no copy: the place gets links to its folders.
fn link(home: &Home, system: &Libtorch) -> Result<()> {
    eprintln!("using the system's libtorch {}", system.version);
    let out = home.unpacking();
    clear(&out)?;
    fs::create_dir_all(&out).with_context(|| cannot("create", &out))?;
    symlink(&system.lib, &out.join("lib"))?;
    symlink(&system.include, &out.join("include"))?;
    finish(home, &out, &system.version)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| cannot("write", path))
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> Result<()> {
    std::os::unix::fs::symlink(target, link).with_context(|| cannot("make the link", link))
}

#[cfg(not(unix))]
fn symlink(_: &Path, link: &Path) -> Result<()> {
    bail!("cannot make the link {} on this system", link.display())
}

#[cfg(test)]
mod tests;
