//! The registry of paths that we answer for.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bitflags::bitflags;

use crate::{Caller, File, Refusal, Stat};

bitflags! {
    /// The flags of `open(2)` that matter to a served file.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct OpenFlags: u32 {
        /// Open for reading.
        const READ = 1;
        /// Open for writing.
        const WRITE = 2;
        /// `O_CLOEXEC`.
        const CLOEXEC = 4;
        /// `O_NONBLOCK`.
        const NONBLOCK = 8;
        /// `O_PATH`: a handle on the name only.
        const PATH = 16;
    }
}

/// What opening a node yields.
#[derive(Debug)]
pub enum Opened {
    /// A served file, new or shared.
    File(Arc<dyn File>),
    /// A text, handed out as a read-only copy that is the client's own from then on.
    Text(Vec<u8>),
    /// A file or directory of the host, handed out as it is.
    Host(OwnedFd),
}

/// Something with a path: `/dev/iommu`, a text file.
pub trait Node: Send + Sync + fmt::Debug {
    /// What `stat` of the path shows.
    fn stat(&self) -> Stat;

    /// Opens it for the caller.
    fn open(&self, caller: &dyn Caller, flags: OpenFlags) -> Result<Opened, Refusal>;
}

/// The paths that exist for the client in addition to the host's, absolute and without `.`, `..` or symbolic links.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    nodes: BTreeMap<PathBuf, Arc<dyn Node>>,
}

impl Paths {
    /// No paths.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node, in the place of an earlier one with the same path.
    pub fn add(&mut self, path: impl Into<PathBuf>, node: Arc<dyn Node>) {
        self.nodes.insert(path.into(), node);
    }

    /// The node at exactly this path.
    pub fn get(&self, path: &Path) -> Option<&Arc<dyn Node>> {
        self.nodes.get(path)
    }

    /// All nodes, in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Arc<dyn Node>)> {
        self.nodes.iter().map(|(path, node)| (path.as_path(), node))
    }
}
