//! Resolving a path as the client's thread would: with its root, its working directory, its descriptors.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2, readlinkat};
use rustix::process::getpid;
use swiommu_files::{FdNumber, Node, Paths};

use super::Shadow;
use super::names::{Names, without_trailing_slashes};
use super::proc::ProcPath;
use crate::placeholder::link;
use crate::threads::Thread;

/// As many links are followed as the kernel follows.
const LINKS: u32 = 40;

/// What a path leads to, when it is ours.
#[derive(Debug)]
pub(crate) enum Target {
    /// A node.
    Node(PathBuf, Arc<dyn Node>),
    /// A directory that holds nodes of ours and that the host lacks.
    Directory(PathBuf),
    /// A file of `/proc` that shows something of ours.
    Proc(ProcPath),
}

/// Whether a link in the last place of a path is followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Follow {
    Yes,
    No,
}

/// Resolves the paths of one thread.
pub(crate) struct Resolver<'a> {
    pub(crate) paths: &'a Paths,
    pub(crate) names: &'a Names,
    pub(crate) shadow: &'a Shadow,
    pub(crate) thread: &'a Thread,
}

impl Resolver<'_> {
    /// What `path` leads to from the directory `at` (`AT_FDCWD` for the working directory).
    pub(crate) fn resolve(&self, at: FdNumber, path: &[u8], follow: Follow) -> Option<Target> {
        if path.is_empty() {
            return None;
        }
        let mut path = Path::new(OsStr::from_bytes(without_trailing_slashes(path))).to_owned();
        if !path.is_absolute() {
            path = self.directory(at)?.join(path);
        }
        for _ in 0..LINKS {
            if let Some(target) = self.as_written(&path) {
                return Some(target);
            }
            match self.step(&path, follow)? {
                Step::Target(target) => return Some(target),
                Step::Link(next) => path = next,
            }
        }
        None
    }

    /// What the path means if no part of it is a link of the host's.
    fn as_written(&self, path: &Path) -> Option<Target> {
        let has_parent = path
            .components()
            .any(|component| component == Component::ParentDir);
        if has_parent { None } else { self.exact(path) }
    }

    /// What an absolute path without `.`, `..` and links means.
    fn exact(&self, path: &Path) -> Option<Target> {
        // `components` drops repeated slashes and `.`.
        let path: PathBuf = path.components().collect();
        if let Some(node) = self.paths.get(&path) {
            let node = node.clone();
            return Some(Target::Node(path, node));
        }
        if self.names.is_directory(&path) {
            return Some(Target::Directory(path));
        }
        ProcPath::parse(&path).map(Target::Proc)
    }

    /// Resolves all but the last component natively, and that if it is a link of the host's.
    fn step(&self, path: &Path, follow: Follow) -> Option<Step> {
        let (parent, name) = (path.parent()?, path.file_name()?);
        let root = self.thread.open_path("root").ok()?;
        let inside = parent.strip_prefix("/").unwrap_or(parent);
        let inside = if inside.as_os_str().is_empty() {
            Path::new(".")
        } else {
            inside
        };
        let opened = openat2(
            &root,
            inside,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        );
        let Ok(directory) = opened else {
            // Below a directory that only we have, `..` cannot lead through a link.
            return self.exact(&lexical(path)).map(Step::Target);
        };
        let canonical = self.seen_by_client(&name_of(&directory)?)?;
        let full = canonical.join(name);
        if let Some(target) = self.exact(&full) {
            return Some(Step::Target(target));
        }
        if follow == Follow::No {
            return None;
        }
        let target = readlinkat(&directory, name, Vec::new()).ok()?;
        let target = PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes()));
        Some(Step::Link(canonical.join(target)))
    }

    /// The client's name of a directory from which it looks something up.
    fn directory(&self, at: FdNumber) -> Option<PathBuf> {
        let name = if at.0 == libc::AT_FDCWD {
            self.thread.link("cwd")
        } else {
            self.thread.link(&format!("fd/{}", at.0))
        };
        self.seen_by_client(&PathBuf::from(std::ffi::OsString::from_vec(name.ok()?)))
    }

    /// From our name of a file to the client's, which may have another root. Where the name is by way of `self`, it is ours.
    fn seen_by_client(&self, path: &Path) -> Option<PathBuf> {
        if let Some(path) = self.shadow.name_of(path) {
            return Some(path);
        }
        let root = PathBuf::from(std::ffi::OsString::from_vec(self.thread.link("root").ok()?));
        let path = Path::new("/").join(path.strip_prefix(root).ok()?);
        let own = format!("/proc/{}", getpid().as_raw_nonzero());
        match path.strip_prefix(own) {
            Ok(rest) if rest.starts_with("task") => {
                let rest = rest.components().skip(2).collect::<PathBuf>();
                Some(Path::new("/proc/thread-self").join(rest))
            }
            Ok(rest) => Some(Path::new("/proc/self").join(rest)),
            Err(_) => Some(path),
        }
    }
}

enum Step {
    Target(Target),
    /// The path goes on here.
    Link(PathBuf),
}

fn name_of(directory: &OwnedFd) -> Option<PathBuf> {
    std::fs::read_link(link(directory.as_fd())).ok()
}

/// The path with each `..` taken as the removal of the name before it.
fn lexical(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                result.pop();
            }
            other => result.push(other),
        }
    }
    result
}
