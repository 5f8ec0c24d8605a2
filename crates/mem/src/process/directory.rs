//! `/proc/PID` as an open directory: it stays with the process it was opened for, even when the number is reused.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, Stat, fstat, open, openat, statat};

/// The directory of one process.
#[derive(Debug)]
pub(crate) struct ProcDir {
    pid: i32,
    directory: OwnedFd,
}

impl ProcDir {
    pub(crate) fn open(pid: i32) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            pid,
            directory: open(format!("/proc/{pid}"), flags, Mode::empty())?,
        })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    pub(crate) fn open_file(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        Ok(openat(
            &self.directory,
            path,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
        )?)
    }

    pub(crate) fn read(&self, path: &str) -> io::Result<String> {
        let mut text = Vec::new();
        File::from(self.open_file(path, OFlags::RDONLY)?).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    pub(crate) fn status_of(&self, path: &str) -> io::Result<Stat> {
        Ok(statat(&self.directory, path, AtFlags::empty())?)
    }

    /// Who owns the directory: the effective user, where the process lets itself be looked at.
    pub(crate) fn owner(&self) -> io::Result<u32> {
        Ok(fstat(&self.directory)?.st_uid)
    }

    /// The names in a subdirectory that are numbers.
    pub(crate) fn numbers_in(&self, path: &str) -> Vec<i32> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let Ok(listing) = self.open_file(path, flags).map(Dir::new) else {
            return Vec::new();
        };
        let entries = listing.into_iter().flatten().flatten();
        let number = |name: &std::ffi::CStr| name.to_str().ok()?.parse().ok();
        entries
            .filter_map(|entry| number(entry.file_name()))
            .collect()
    }

    /// The children of all threads.
    pub(crate) fn children(&self) -> Vec<i32> {
        let threads = self.numbers_in("task");
        let of = |thread| self.read(&format!("task/{thread}/children")).ok();
        let lists = threads.into_iter().filter_map(of);
        lists
            .flat_map(|list| {
                list.split_whitespace()
                    .filter_map(|pid| pid.parse().ok())
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// A number behind a name in `status`, such as the real user of `Uid:`.
    pub(crate) fn status_field(&self, name: &str) -> Option<u32> {
        let text = self.read("status").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    }
}

/// The mounts that we see.
pub(crate) fn our_mounts() -> String {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()
}
