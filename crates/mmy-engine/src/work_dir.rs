//! Where a run writes what.

use std::{
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Checkpoint,
    error::{EngineError, Result},
};

/// The folder of a run, laid out as mmengine's users know it:
///
/// ```text
/// work_dirs/NAME/NAME.toml                  the resolved config
/// work_dirs/NAME/last_checkpoint            text: path of the newest checkpoint that a run can go on from
/// work_dirs/NAME/epoch_N.safetensors        or iter_N
/// work_dirs/NAME/resume.safetensors         the state between them: by time, on Ctrl-C
/// work_dirs/NAME/.lock                      held while somebody trains here
/// work_dirs/NAME/best_coco_bbox_mAP_epoch_N.safetensors
/// work_dirs/NAME/TIMESTAMP/TIMESTAMP.log
/// work_dirs/NAME/TIMESTAMP/TIMESTAMP.json   metrics of a test
/// work_dirs/NAME/TIMESTAMP/vis_data/{config.toml, scalars.json}
/// ```
#[derive(Debug, Clone)]
pub struct WorkDir {
    root: PathBuf,
    stamp: String,
    /// Open and locked until the last clone goes.
    _lock: Option<Arc<fs::File>>,
}

/// How the names of unfinished files and folders begin.
pub(crate) const WRITING: &str = ".writing-";

impl WorkDir {
    /// Makes the folder and this process's own folder in it, named after the local time.
    ///
    /// # Errors
    /// When a folder cannot be made.
    pub fn create(root: &Path) -> Result<Self> {
        let now = jiff::Zoned::now().strftime("%Y%m%d_%H%M%S").to_string();
        let mut stamp = now.clone();
        fs::create_dir_all(root).map_err(EngineError::io("make the folder", root))?;
        // Two processes may start within one second: the second one takes the next free name.
        for n in 1.. {
            match fs::create_dir(root.join(&stamp)) {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => stamp = format!("{now}_{n}"),
                Err(error) => return Err(EngineError::io("make the folder", &root.join(&stamp))(error)),
            }
        }
        let dir = WorkDir { root: root.to_owned(), stamp, _lock: None };
        let vis = dir.vis_data();
        fs::create_dir_all(&vis).map_err(EngineError::io("make the folder", &vis))?;
        Ok(dir)
    }

    /// As [`WorkDir::create`], for one who trains: nobody else may train here meanwhile, and what a killed process left
    /// unfinished is removed.
    ///
    /// # Errors
    /// When a folder cannot be made, or another process trains here.
    pub fn create_for_training(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).map_err(EngineError::io("make the folder", root))?;
        let path = root.join(".lock");
        let lock = fs::File::create(&path).map_err(EngineError::io("write", &path))?;
        match fs4::FileExt::try_lock(&lock) {
            Err(fs4::TryLockError::WouldBlock) => {
                return Err(EngineError::Unfit(format!(
                    "another process trains in `{}`: wait for its end, or name another folder with --work-dir",
                    root.display()
                )));
            }
            // Some network file systems know no locks.
            Err(fs4::TryLockError::Error(error)) => tracing::debug!("`{}` cannot be locked: {error}", path.display()),
            Ok(()) => remove_unfinished(root)?,
        }
        Ok(WorkDir { _lock: Some(Arc::new(lock)), ..Self::create(root)? })
    }

    /// The run's folder.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// This process's own folder.
    pub fn own(&self) -> PathBuf {
        self.root.join(&self.stamp)
    }

    /// This process's log file.
    pub fn log_file(&self) -> PathBuf {
        self.root.join(&self.stamp).join(format!("{}.log", self.stamp))
    }

    /// The folder of `scalars.json`.
    pub fn vis_data(&self) -> PathBuf {
        self.root.join(&self.stamp).join("vis_data")
    }

    /// Where a test's metrics go.
    pub fn test_metrics(&self) -> PathBuf {
        self.root.join(&self.stamp).join(format!("{}.json", self.stamp))
    }

    /// The text file that names the newest periodic checkpoint.
    pub fn pointer(root: &Path) -> PathBuf {
        root.join("last_checkpoint")
    }

    /// The newest periodic checkpoint of the run in `root`, if there is one.
    ///
    /// # Errors
    /// When `last_checkpoint` is there but cannot be read.
    pub fn last_checkpoint(root: &Path) -> Result<Option<PathBuf>> {
        let pointer = Self::pointer(root);
        match fs::read_to_string(&pointer) {
            Ok(text) => {
                let named = PathBuf::from(text.trim());
                // The folder may have been moved since: the file's name beside the pointer is what counts then.
                let beside = named.file_name().map(|it| root.join(it)).unwrap_or_default();
                Ok(Some(if named.exists() { named } else { beside }))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(EngineError::io("read", &pointer)(error)),
        }
    }

    /// The newest checkpoint of the run in `root` that is whole and that a run can go on from. Damaged ones are told and
    /// passed over: since a run is a function of its config, going on from an older one ends with the same bytes.
    ///
    /// # Errors
    /// When the folder is there but cannot be read.
    pub fn newest_whole(root: &Path) -> Result<Option<PathBuf>> {
        let named = Self::last_checkpoint(root)?;
        let mut found = Vec::new();
        match fs::read_dir(root) {
            Ok(entries) => found.extend(entries.flatten().map(|it| it.path()).filter(|it| is_checkpoint(it))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(EngineError::io("read", root)(error)),
        }
        let iter = |path: &PathBuf| match Checkpoint::read_manifest(path) {
            Ok(Some(manifest)) => manifest.resumable.then_some(manifest.progress.iter),
            Ok(None) => None,
            // Its damage is told below.
            Err(_) => Some(usize::MAX),
        };
        let is_named = |path: &PathBuf| named.as_ref().is_some_and(|it| it.file_name() == path.file_name());
        let mut rows: Vec<_> = found.into_iter().filter_map(|it| Some((is_named(&it), iter(&it)?, it))).collect();
        rows.sort();
        while let Some((_, _, path)) = rows.pop() {
            match Checkpoint::read(&path) {
                Ok(_) => return Ok(Some(path)),
                Err(error) => tracing::warn!("{error}; looking for the newest one before it"),
            }
        }
        Ok(named)
    }

    /// Notes the newest periodic checkpoint.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_last_checkpoint(&self, checkpoint: &Path) -> Result<()> {
        write_atomic(&Self::pointer(&self.root), checkpoint.display().to_string().as_bytes())
    }

    /// Writes the resolved config, for people and for the next run.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_config(&self, name: &str, text: &str) -> Result<()> {
        write_atomic(&self.root.join(format!("{name}.toml")), text.as_bytes())?;
        write_atomic(&self.vis_data().join("config.toml"), text.as_bytes())
    }
}

/// Removes what a process that was killed left half-written.
fn remove_unfinished(root: &Path) -> Result<()> {
    for entry in fs::read_dir(root).map_err(EngineError::io("read", root))?.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(WRITING) {
            continue;
        }
        let path = entry.path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Ok(()) => tracing::info!("removed `{}`, which a killed process left unfinished", path.display()),
            Err(error) => tracing::warn!("cannot remove `{}`: {error}", path.display()),
        }
    }
    Ok(())
}

/// Writes a small file so that a reader sees the old content or the new, never a part.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(WRITING).tempfile_in(folder_of(path))?;
        file.write_all(bytes)?;
        publish(&file.into_temp_path(), path)
    };
    write().map_err(EngineError::io("write", path))
}

/// Gives a finished temporary file its name, readable as any new file is, once its content is on the disk, and makes the
/// name survive a power cut.
pub(crate) fn publish(whole: &Path, path: &Path) -> std::io::Result<()> {
    let file = fs::File::options().write(true).open(whole)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    file.sync_all()?;
    fs::rename(whole, path)?;
    fs::File::open(folder_of(path))?.sync_all()
}

fn is_checkpoint(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "safetensors") && path.is_file()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointer_survives_a_moved_folder() {
        let old = tempfile::tempdir().unwrap();
        let dir = WorkDir::create(&old.path().join("run")).unwrap();
        let file = dir.path().join("epoch_3.safetensors");
        fs::write(&file, b"x").unwrap();
        dir.set_last_checkpoint(&file).unwrap();
        let moved = old.path().join("moved");
        fs::rename(dir.path(), &moved).unwrap();
        assert_eq!(WorkDir::last_checkpoint(&moved).unwrap(), Some(moved.join("epoch_3.safetensors")));
        assert_eq!(WorkDir::last_checkpoint(old.path()).unwrap(), None);
    }

    #[test]
    fn one_trains_at_a_time_and_leftovers_go() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(".writing-abc")).unwrap();
        fs::write(root.path().join(".writing-abc/whole"), "half").unwrap();
        fs::write(root.path().join(".writing-def"), "half").unwrap();
        let first = WorkDir::create_for_training(root.path()).unwrap();
        assert!(!root.path().join(".writing-abc").exists());
        assert!(!root.path().join(".writing-def").exists());
        let error = WorkDir::create_for_training(root.path()).unwrap_err();
        assert!(error.to_string().contains("another process trains in"), "{error}");
        drop(first);
        WorkDir::create_for_training(root.path()).unwrap();
    }

    #[test]
    fn two_runs_in_one_second_get_two_folders() {
        let root = tempfile::tempdir().unwrap();
        let (a, b) = (WorkDir::create(root.path()).unwrap(), WorkDir::create(root.path()).unwrap());
        assert_ne!(a.log_file(), b.log_file());
    }
}
