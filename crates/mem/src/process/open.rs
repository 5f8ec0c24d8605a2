//! Getting hold of a file that a process has mapped.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, OFlags, Stat, fstat};

use super::directory::ProcDir;
use super::maps::{Maps, Vma};
use crate::FileId;
use crate::file::reopen;

/// Opens the file behind `vma`: from the descriptors of the process, by its name, or (root only) by the mapping itself.
///
/// For writing, if that is allowed.
pub(crate) fn open_mapped(
    process: &ProcDir,
    maps: &Maps,
    vma: &Vma,
    id: FileId,
) -> Option<OwnedFd> {
    by_descriptor(process, id)
        .or_else(|| by_name(process, &maps.name(vma.range.start()), id))
        .or_else(|| by_mapping(process, vma, id))
}

fn by_descriptor(process: &ProcDir, id: FileId) -> Option<OwnedFd> {
    let descriptors = process.numbers_in("fd").into_iter();
    descriptors
        .map(|number| format!("fd/{number}"))
        .find_map(|path| {
            let found = process.status_of(&path).ok()?;
            is_file(&found, id).then(|| checked(process, &path, id))?
        })
}

fn by_name(process: &ProcDir, name: &str, id: FileId) -> Option<OwnedFd> {
    if !name.starts_with('/') || name.ends_with(" (deleted)") {
        return None;
    }
    // A path may lead anywhere by now: nothing is opened before it is known to be the file.
    let place = process
        .open_file(&format!("root{name}"), OFlags::PATH)
        .ok()?;
    let open = |flags| reopen(place.as_fd(), flags);
    is_file(&fstat(&place).ok()?, id)
        .then(|| open(OFlags::RDWR).or_else(|_| open(OFlags::RDONLY)).ok())?
}

fn by_mapping(process: &ProcDir, vma: &Vma, id: FileId) -> Option<OwnedFd> {
    let (start, end) = (vma.range.start().get(), vma.range.end()?.get());
    checked(process, &format!("map_files/{start:x}-{end:x}"), id)
}

/// Opens a link of `/proc/PID`, if it leads to the file.
fn checked(process: &ProcDir, path: &str, id: FileId) -> Option<OwnedFd> {
    let open = |flags| process.open_file(path, flags | OFlags::NONBLOCK | OFlags::NOCTTY);
    let file = open(OFlags::RDWR).or_else(|_| open(OFlags::RDONLY)).ok()?;
    is_file(&fstat(&file).ok()?, id).then_some(file)
}

fn is_file(status: &Stat, id: FileId) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::RegularFile && FileId::from(status) == id
}
