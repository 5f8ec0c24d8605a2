//! The cheap refusal of paths that cannot be ours.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use swiommu_files::Paths;

/// The last components that a path of ours can have.
#[derive(Debug)]
pub(crate) struct Names {
    names: BTreeSet<Vec<u8>>,
    directories: BTreeSet<PathBuf>,
}

impl Names {
    pub(crate) fn new(paths: &Paths) -> Self {
        let directories: BTreeSet<PathBuf> = paths
            .iter()
            .flat_map(|(path, _)| path.ancestors().skip(1))
            .filter(|directory| !directory.exists())
            .map(Path::to_owned)
            .collect();
        let names = paths
            .iter()
            .map(|(path, _)| path)
            .chain(directories.iter().map(PathBuf::as_path))
            .filter_map(|path| Some(path.file_name()?.as_encoded_bytes().to_vec()))
            .chain([b"status".to_vec(), b"fail-nth".to_vec()])
            .collect();
        Self { names, directories }
    }

    /// Whether this is a directory that holds nodes of ours and that the host lacks.
    pub(crate) fn is_directory(&self, path: &Path) -> bool {
        self.directories.contains(path)
    }

    /// All directories that hold nodes of ours and that the host lacks.
    pub(crate) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.directories.iter().map(PathBuf::as_path)
    }

    /// Whether the path may lead to something of ours. A link of another name to it is not followed.
    pub(crate) fn may_match(&self, path: &[u8]) -> bool {
        let path = without_trailing_slashes(path);
        let (directory, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (Some(&path[..slash]), &path[slash + 1..]),
            None => (None, path),
        };
        if self.names.contains(name) {
            return true;
        }
        // A link of `/proc/PID/fd`.
        !name.is_empty()
            && name.iter().all(u8::is_ascii_digit)
            && directory.is_none_or(|directory| directory.ends_with(b"fd"))
    }
}

pub(super) fn without_trailing_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/');
    &path[..end.map_or(0, |last| last + 1)]
}
