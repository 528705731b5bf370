//! Where a run writes what.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use crate::error::{EngineError, Result};

/// The folder of a run, laid out as mmengine's users know it:
///
/// ```text
/// work_dirs/NAME/NAME.toml                  the resolved config
/// work_dirs/NAME/last_checkpoint            text: path of the newest periodic checkpoint
/// work_dirs/NAME/epoch_N.safetensors
/// work_dirs/NAME/best_coco_bbox_mAP_epoch_N.safetensors
/// work_dirs/NAME/TIMESTAMP/TIMESTAMP.log
/// work_dirs/NAME/TIMESTAMP/TIMESTAMP.json   metrics of a test
/// work_dirs/NAME/TIMESTAMP/vis_data/{config.toml, scalars.json}
/// ```
#[derive(Debug, Clone)]
pub struct WorkDir {
    root: PathBuf,
    stamp: String,
}

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
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => stamp = format!("{now}_{n}"),
                Err(error) => return Err(EngineError::io("make the folder", &root.join(&stamp))(error)),
            }
        }
        let dir = WorkDir { root: root.to_owned(), stamp };
        let vis = dir.vis_data();
        fs::create_dir_all(&vis).map_err(EngineError::io("make the folder", &vis))?;
        Ok(dir)
    }

    /// The run's folder.
    pub fn path(&self) -> &Path {
        &self.root
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
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(EngineError::io("read", &pointer)(error)),
        }
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

/// Writes a small file so that a reader sees the old content or the new, never a part.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        publish(file, path)
    };
    write().map_err(EngineError::io("write", path))
}

/// Gives a finished temporary file its name, readable as any new file is, and makes the name survive a power cut.
pub(crate) fn publish(file: tempfile::NamedTempFile, path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path).map_err(|it| it.error)?;
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
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
    fn two_runs_in_one_second_get_two_folders() {
        let root = tempfile::tempdir().unwrap();
        let (a, b) = (WorkDir::create(root.path()).unwrap(), WorkDir::create(root.path()).unwrap());
        assert_ne!(a.log_file(), b.log_file());
    }
}
