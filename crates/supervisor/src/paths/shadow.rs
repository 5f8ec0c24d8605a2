//! The directories that hold nodes of ours and that the host lacks, as directories that can be read.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use swiommu_abi::Errno;
use swiommu_files::{Paths, Stat};
use tempfile::TempDir;

use super::Names;
use crate::errno::errno;

/// A tree of those directories in a place of the host's, with a file of the right type for each node. A client reads them there,
/// natively; what it looks up from there is ours all the same. It is made when the first is opened, and removed at the end.
#[derive(Debug, Default)]
pub(crate) struct Shadow(OnceLock<Tree>);

#[derive(Debug)]
struct Tree {
    root: PathBuf,
    _directory: TempDir,
}

impl Shadow {
    /// Opens a directory of these paths.
    ///
    /// # Errors
    /// `ENOENT` when no tree can be made: the directories exist, but cannot be read. Else the host's.
    pub(crate) fn open(
        &self,
        directory: &Path,
        paths: &Paths,
        names: &Names,
    ) -> Result<OwnedFd, Errno> {
        let tree = self.tree(paths, names).map_err(|error| {
            tracing::warn!(%error, "a directory that only swiommu has cannot be read");
            Errno::ENOENT
        })?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        open(below(&tree.root, directory), flags, Mode::empty()).map_err(errno)
    }

    fn tree(&self, paths: &Paths, names: &Names) -> io::Result<&Tree> {
        if let Some(tree) = self.0.get() {
            return Ok(tree);
        }
        let tree = build(paths, names)?;
        // Of two that are made at once, one stays.
        Ok(self.0.get_or_init(|| tree))
    }

    /// What the client calls a path in the tree.
    pub(crate) fn name_of(&self, path: &Path) -> Option<PathBuf> {
        let path = path.strip_prefix(&self.0.get()?.root).ok()?;
        Some(Path::new("/").join(path))
    }
}

fn build(paths: &Paths, names: &Names) -> io::Result<Tree> {
    let directory = TempDir::with_prefix("swiommu-directories-")?;
    let root = directory.path().canonicalize()?;
    for path in names.directories() {
        fs::create_dir_all(below(&root, path))?;
    }
    for (path, node) in paths.iter() {
        let parent = path.parent();
        if parent.is_some_and(|parent| names.is_directory(parent)) {
            stand_in(&below(&root, path), node.stat())?;
        }
    }
    Ok(Tree {
        root,
        _directory: directory,
    })
}

/// A file of the node's type. Of all devices, anybody may make the one whose number is 0; where not even that is allowed, a plain
/// file has the name at least.
fn stand_in(path: &Path, stat: Stat) -> io::Result<()> {
    match stat {
        Stat::Directory { .. } => fs::create_dir_all(path),
        Stat::Device { .. } if device(path).is_ok() => Ok(()),
        _ => fs::write(path, []),
    }
}

fn device(path: &Path) -> rustix::io::Result<()> {
    mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0)
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
