//! `/sys/kernel/debug` as a kernel with fault injection has it: the attributes by which a program prepares for `fail-nth`.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use swiommu_abi::Errno;
use swiommu_files::{Caller, Node, OpenFlags, Opened, Paths, Refusal, Stat};
use tempfile::TempDir;

const ROOT: &str = "/sys/kernel/debug";

/// The attributes of every kind of fault, with what they read as. They can be written, and change nothing: faults come by
/// `fail-nth` alone.
const ATTRIBUTES: [(&str, &str); 6] = [
    ("probability", "0"),
    ("interval", "1"),
    ("times", "1"),
    ("space", "0"),
    ("verbose", "2"),
    ("task-filter", "N"),
];

/// The kinds of faults, with the attributes that only they have.
const KINDS: [(&str, &[(&str, &str)]); 3] = [
    ("failslab", &[("ignore-gfp-wait", "Y")]),
    (
        "fail_page_alloc",
        &[
            ("ignore-gfp-wait", "Y"),
            ("ignore-gfp-highmem", "Y"),
            ("min-order", "1"),
        ],
    ),
    ("fail_iommufd", &[]),
];

/// Puts the directory and what is in it among the paths. The files are real ones, and are removed with the last node.
pub(crate) fn add_to(paths: &mut Paths) -> io::Result<()> {
    let files = Arc::new(TempDir::with_prefix("swiommu-debugfs-")?);
    let mut add = |name: &Path| {
        let node = HostFile {
            _root: files.clone(),
            path: files.path().join(name),
        };
        // Without the slash that joining an empty name would leave.
        let path: PathBuf = Path::new(ROOT).join(name).components().collect();
        paths.add(path, Arc::new(node));
    };
    add(Path::new(""));
    for (kind, own) in KINDS {
        fs::create_dir(files.path().join(kind))?;
        add(Path::new(kind));
        for (attribute, value) in ATTRIBUTES.iter().chain(own) {
            let name = Path::new(kind).join(attribute);
            fs::write(files.path().join(&name), format!("{value}\n"))?;
            add(&name);
        }
    }
    Ok(())
}

/// A file or directory of the host under another name.
#[derive(Debug)]
struct HostFile {
    _root: Arc<TempDir>,
    path: PathBuf,
}

impl Node for HostFile {
    fn stat(&self) -> Stat {
        if self.path.is_dir() {
            Stat::Directory { mode: 0o755 }
        } else {
            let size = fs::metadata(&self.path).map_or(0, |file| file.len());
            Stat::Regular { size, mode: 0o644 }
        }
    }

    fn open(&self, _caller: &dyn Caller, flags: OpenFlags) -> Result<Opened, Refusal> {
        let opened = fs::OpenOptions::new()
            .read(flags.contains(OpenFlags::READ) || !flags.contains(OpenFlags::WRITE))
            .write(flags.contains(OpenFlags::WRITE))
            .open(&self.path);
        let file: OwnedFd = opened
            .map_err(|error| {
                let errno = error.raw_os_error().map_or(Errno::EIO, Into::into);
                Refusal::new(errno, error)
            })?
            .into();
        Ok(Opened::Host(file))
    }
}
