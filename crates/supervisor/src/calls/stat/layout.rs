//! `struct stat` and `struct statx` of x86-64, as bytes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{fstat, major, makedev, minor, stat};
use rustix::process::{getegid, geteuid};
use swiommu_files::{DeviceNumber, Stat};

/// What the host's own files look like where ours must fit in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostFiles {
    /// The file system of `/dev`.
    dev: u64,
    /// The file system and inode of anonymous inodes.
    anonymous: (u64, u64),
    /// When the run began, in seconds.
    time: i64,
}

/// Everything that `stat(2)` tells of a served file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Attributes {
    file_system: u64,
    inode: u64,
    mode: u32,
    links: u32,
    device: DeviceNumber,
    size: u64,
    time: i64,
}

impl HostFiles {
    /// Looks at the host; `anonymous` is any file of an anonymous inode.
    pub(crate) fn new(anonymous: BorrowedFd<'_>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            dev: stat("/dev").map_or(0, |dev| dev.st_dev),
            anonymous: fstat(anonymous).map_or((0, 0), |file| (file.st_dev, file.st_ino)),
            time: now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(0)),
        }
    }

    /// The attributes of a served file or node of this name.
    pub(crate) fn attributes(&self, name: &str, stat: Stat) -> Attributes {
        let kind = match stat {
            Stat::Device { .. } => libc::S_IFCHR,
            Stat::Regular { .. } => libc::S_IFREG,
            Stat::Directory { .. } => libc::S_IFDIR,
            // The kernel shows no type for an anonymous inode.
            Stat::Anonymous => 0,
        };
        let mut attributes = self.named(name, kind | permissions(stat));
        match stat {
            Stat::Device { number, .. } => attributes.device = number,
            Stat::Regular { size, .. } => attributes.size = size,
            Stat::Directory { .. } => attributes.links = 2,
            Stat::Anonymous => (attributes.file_system, attributes.inode) = self.anonymous,
        }
        attributes
    }

    /// The attributes of a directory that only we have.
    pub(crate) fn directory(&self, path: &Path) -> Attributes {
        Attributes {
            links: 2,
            ..self.named(&path.to_string_lossy(), libc::S_IFDIR | 0o755)
        }
    }

    fn named(&self, name: &str, mode: u32) -> Attributes {
        // The same name has the same inode number by path and by descriptor, in every run.
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Attributes {
            file_system: self.dev,
            inode: hasher.finish() >> 32 | 1,
            mode,
            links: 1,
            device: DeviceNumber { major: 0, minor: 0 },
            size: 0,
            time: self.time,
        }
    }
}

/// The permission bits.
pub(crate) fn permissions(stat: Stat) -> u32 {
    match stat {
        Stat::Device { mode, .. } | Stat::Regular { mode, .. } | Stat::Directory { mode } => mode,
        Stat::Anonymous => 0o600,
    }
}

const BLOCK_SIZE: u32 = 4096;

impl Attributes {
    /// A `struct stat`.
    pub(crate) fn stat(&self) -> Vec<u8> {
        let device = makedev(self.device.major, self.device.minor);
        let mut bytes = Bytes::default();
        bytes.u64(self.file_system);
        bytes.u64(self.inode);
        bytes.u64(self.links.into());
        bytes.u32(self.mode);
        bytes.u32(geteuid().as_raw());
        bytes.u32(getegid().as_raw());
        bytes.u32(0);
        bytes.u64(device);
        bytes.u64(self.size);
        bytes.u64(BLOCK_SIZE.into());
        bytes.u64(self.blocks());
        for _ in 0..3 {
            bytes.u64(self.time.cast_unsigned());
            bytes.u64(0);
        }
        bytes.pad(size_of::<libc::stat>())
    }

    /// A `struct statx`.
    pub(crate) fn statx(&self) -> Vec<u8> {
        let mut bytes = Bytes::default();
        bytes.u32(libc::STATX_BASIC_STATS);
        bytes.u32(BLOCK_SIZE);
        bytes.u64(0);
        bytes.u32(self.links);
        bytes.u32(geteuid().as_raw());
        bytes.u32(getegid().as_raw());
        bytes.u32(self.mode & 0xFFFF);
        bytes.u64(self.inode);
        bytes.u64(self.size);
        bytes.u64(self.blocks());
        bytes.u64(0);
        // Access, birth, change and modification; there is no birth time.
        for time in [self.time, 0, self.time, self.time] {
            bytes.u64(time.cast_unsigned());
            bytes.u64(0);
        }
        bytes.u32(self.device.major);
        bytes.u32(self.device.minor);
        bytes.u32(major(self.file_system));
        bytes.u32(minor(self.file_system));
        bytes.pad(size_of::<libc::statx>())
    }

    /// In units of 512 bytes.
    fn blocks(&self) -> u64 {
        self.size.div_ceil(512)
    }
}

/// A C struct, field by field.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u32(&mut self, value: u32) {
        self.0.extend(value.to_ne_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend(value.to_ne_bytes());
    }

    fn pad(mut self, size: usize) -> Vec<u8> {
        self.0.resize(size, 0);
        self.0
    }
}
