//! The folder of a run.

use std::fs;
use std::path::{Path, PathBuf};

use crate::BenchError;

/// A new folder, removed with all that is in it when the run ends, however it ends.
#[derive(Debug)]
pub struct Workspace {
    folder: PathBuf,
}

impl Workspace {
    /// Makes the folder below `parent`.
    ///
    /// # Errors
    /// [`BenchError::File`], also when there is one of that name: it is not ours to use or to remove.
    pub fn new(parent: &Path) -> Result<Self, BenchError> {
        let folder = parent.join(format!("store-bench-{}-{}", std::process::id(), crate::meter::now_ns()));
        fs::create_dir(&folder).map_err(BenchError::file(&folder))?;
        Ok(Self { folder })
    }

    /// A folder below it, made if it is missing.
    ///
    /// # Errors
    /// [`BenchError::File`].
    pub fn part(&self, name: &str) -> Result<PathBuf, BenchError> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).map_err(BenchError::file(&folder))?;
        Ok(folder)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // What remains of a benchmark in a temporary folder harms nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_remains() {
        let workspace = Workspace::new(&std::env::temp_dir()).unwrap();
        let part = workspace.part("a").unwrap();
        fs::write(part.join("file"), [1; 5000]).unwrap();
        assert!(crate::meter::disk_bytes(&workspace.folder).unwrap() >= 5000);
        drop(workspace);
        assert!(!part.exists());
    }
}
