//! What a process has mapped: `/proc/PID/maps`, one area at a time.

#![expect(unsafe_code, reason = "the ioctl PROCMAP_QUERY")]

use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::makedev;
use swiommu_addr::{Hva, HvaRange, PageSize};

use crate::{FileId, PAGE};

/// A mapped area of a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Vma {
    pub(crate) range: HvaRange,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) shared: bool,
    /// The host's page size for it, if it says so.
    pub(crate) page: Option<PageSize>,
    /// The file behind it, with the offset of the area's first byte.
    pub(crate) file: Option<(FileId, u64)>,
}

/// The `mm` is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gone;

/// An open `/proc/PID/maps`. It belongs to the `mm` that the process had when it was opened: after an exec it stays with the
/// old one, and says when that has no users left.
#[derive(Debug)]
pub(crate) struct Maps {
    file: File,
    /// Whether the kernel knows `PROCMAP_QUERY` (Linux 6.11).
    has_query: AtomicBool,
}

impl Maps {
    pub(crate) fn new(file: OwnedFd) -> Self {
        Self {
            file: file.into(),
            has_query: AtomicBool::new(true),
        }
    }

    /// Whether the `mm` still has users.
    pub(crate) fn is_alive(&self) -> bool {
        if self.has_query.load(Ordering::Relaxed) {
            match self.query(0, &mut []) {
                Err(Failure::Gone) => return false,
                Err(Failure::NoQuery) => {}
                Ok(_) => return true,
            }
        }
        matches!(self.file.read_at(&mut [0], 0), Ok(1))
    }

    /// The area that contains `at`, or else the next one above.
    pub(crate) fn at_or_above(&self, at: Hva) -> Result<Option<Vma>, Gone> {
        if self.has_query.load(Ordering::Relaxed) {
            match self.query(at.get(), &mut []) {
                Ok(found) => return Ok(found.map(|(vma, _)| vma)),
                Err(Failure::Gone) => return Err(Gone),
                Err(Failure::NoQuery) => {}
            }
        }
        let above = |(vma, _): &(Vma, String)| vma.range.last() >= at;
        Ok(self.parse()?.into_iter().find(above).map(|(vma, _)| vma))
    }

    /// The name of the area that contains `at`: a path, `[heap]` and the like, or nothing.
    pub(crate) fn name(&self, at: Hva) -> String {
        let mut name = [0; libc::PATH_MAX as usize];
        if self.has_query.load(Ordering::Relaxed) {
            match self.query(at.get(), &mut name) {
                Ok(Some((vma, len))) if vma.range.contains(at) => {
                    let name = name[..len].split(|&byte| byte == 0).next();
                    return String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
                }
                Ok(_) | Err(Failure::Gone) => return String::new(),
                Err(Failure::NoQuery) => {}
            }
        }
        let found = self.parse().ok().and_then(|areas| {
            let mut areas = areas.into_iter();
            areas.find(|(vma, _)| vma.range.contains(at))
        });
        found.map_or_else(String::new, |(_, name)| name)
    }

    /// Where the page at `offset` of the file starts in the memory of the process; not in the range `except`.
    pub(crate) fn find(&self, file: FileId, offset: u64, except: Option<HvaRange>) -> Option<Hva> {
        let mut next = Some(Hva::new(0));
        while let Some(at) = next {
            let vma = self.at_or_above(at).ok()??;
            let found = vma.address_of(file, offset & !PAGE.mask());
            if found.is_some_and(|hva| !except.is_some_and(|except| except.contains(hva))) {
                return found;
            }
            next = vma.range.end();
        }
        None
    }

    /// One `PROCMAP_QUERY`; returns the area and the length of its name.
    fn query(&self, at: u64, name: &mut [u8]) -> Result<Option<(Vma, usize)>, Failure> {
        let mut query = Query {
            size: size_of::<Query>() as u64,
            flags: COVERING_OR_NEXT,
            at,
            name_len: u32::try_from(name.len()).unwrap_or(0),
            name: name.as_mut_ptr().expose_provenance() as u64,
            ..Query::default()
        };
        if name.is_empty() {
            query.name = 0;
        }
        // SAFETY: the kernel writes at most `query.size` bytes to `query` and `name_len` bytes to `name`; both are exclusive
        // borrows of at least that size.
        let result = unsafe { libc::ioctl(self.file.as_raw_fd(), PROCMAP_QUERY, &raw mut query) };
        if result < 0 {
            return match io::Error::last_os_error().raw_os_error() {
                Some(libc::ENOENT) => Ok(None),
                Some(libc::ENOTTY) => {
                    self.has_query.store(false, Ordering::Relaxed);
                    Err(Failure::NoQuery)
                }
                _ => Err(Failure::Gone),
            };
        }
        Ok(query.vma().map(|vma| (vma, query.name_len as usize)))
    }

    /// The whole text, for kernels without the query.
    fn parse(&self) -> Result<Vec<(Vma, String)>, Gone> {
        let mut text = Vec::new();
        let mut chunk = vec![0; 1 << 16];
        loop {
            match self.file.read_at(&mut chunk, text.len() as u64) {
                Ok(0) => break,
                Ok(len) => text.extend_from_slice(&chunk[..len]),
                Err(_) => return Err(Gone),
            }
        }
        let text = String::from_utf8_lossy(&text);
        if text.is_empty() {
            return Err(Gone);
        }
        Ok(text.lines().filter_map(parse_line).collect())
    }
}

impl Vma {
    /// Where `offset` of the file lies in this area, if it is a shared mapping of it.
    pub(crate) fn address_of(&self, file: FileId, offset: u64) -> Option<Hva> {
        let (id, start) = self.file.filter(|_| self.shared)?;
        let distance = offset.checked_sub(start)?;
        let inside = id == file && distance <= self.range.len_minus_one();
        inside.then(|| Hva::new(self.range.start().get() + distance))
    }
}

enum Failure {
    Gone,
    NoQuery,
}

/// `struct procmap_query` of `linux/fs.h`.
#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    flags: u64,
    at: u64,
    start: u64,
    end: u64,
    vma_flags: u64,
    page_size: u64,
    offset: u64,
    inode: u64,
    major: u32,
    minor: u32,
    name_len: u32,
    build_id_len: u32,
    name: u64,
    build_id: u64,
}

/// `_IOWR('f', 17, struct procmap_query)`.
const PROCMAP_QUERY: libc::Ioctl = 0xc068_6611;
const COVERING_OR_NEXT: u64 = 0x10;
const READABLE: u64 = 1;
const WRITABLE: u64 = 2;
const SHARED: u64 = 8;

const _: () = assert!(size_of::<Query>() == 0x68);

impl Query {
    fn vma(&self) -> Option<Vma> {
        let file = FileId {
            device: makedev(self.major, self.minor),
            inode: self.inode,
        };
        Some(Vma {
            range: HvaRange::new(Hva::new(self.start), Hva::new(self.end.checked_sub(1)?))?,
            readable: self.vma_flags & READABLE != 0,
            writable: self.vma_flags & WRITABLE != 0,
            shared: self.vma_flags & SHARED != 0,
            page: PageSize::from_bytes(self.page_size),
            file: (self.inode != 0).then_some((file, self.offset)),
        })
    }
}

/// A line such as `7f12a000-7f12c000 rw-s 00001000 00:01 1029   /memfd:ram (deleted)`.
fn parse_line(line: &str) -> Option<(Vma, String)> {
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let device = |text: &str| u32::from_str_radix(text, 16).ok();
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let access = fields.next()?.as_bytes();
    let offset = hex(fields.next()?)?;
    let (major, minor) = fields.next()?.split_once(':')?;
    let inode = fields.next()?.parse().ok()?;
    let name = fields.next().unwrap_or_default().trim_start();
    let file = FileId {
        device: makedev(device(major)?, device(minor)?),
        inode,
    };
    let vma = Vma {
        range: HvaRange::new(Hva::new(hex(start)?), Hva::new(hex(end)?.checked_sub(1)?))?,
        readable: access.first() == Some(&b'r'),
        writable: access.get(1) == Some(&b'w'),
        shared: access.get(3) == Some(&b's'),
        page: None,
        file: (inode != 0).then_some((file, offset)),
    };
    Some((vma, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use rustix::fs::OFlags;

    use super::*;
    use crate::process::directory::ProcDir;

    #[test]
    fn a_line_of_the_text_is_an_area() {
        let line =
            "7f12a000-7f12c000 rw-s 00001000 00:01 1029                       /memfd:a b (deleted)";
        let (vma, name) = parse_line(line).unwrap();
        assert_eq!(vma.range.start(), Hva::new(0x7f12_a000));
        assert_eq!(vma.range.last(), Hva::new(0x7f12_bfff));
        assert!(vma.readable && vma.writable && vma.shared);
        let id = FileId {
            device: 1,
            inode: 1029,
        };
        assert_eq!(vma.file, Some((id, 0x1000)));
        assert_eq!(vma.address_of(id, 0x2fff), Some(Hva::new(0x7f12_bfff)));
        assert_eq!(vma.address_of(id, 0x3000), None);
        assert_eq!(vma.address_of(id, 0xfff), None);
        assert_eq!(name, "/memfd:a b (deleted)");
    }

    #[test]
    fn anonymous_memory_has_no_file() {
        let (vma, name) = parse_line("55d0e000-55d0f000 ---p 00000000 00:00 0 ").unwrap();
        assert!(!vma.readable && !vma.writable && !vma.shared);
        assert_eq!(vma.file, None);
        assert_eq!(name, "");
    }

    #[test]
    fn both_ways_to_ask_agree_about_this_process() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let directory = ProcDir::open(pid).unwrap();
        let open = || Maps::new(directory.open_file("maps", OFlags::RDONLY).unwrap());
        let (with_query, with_text) = (open(), open());
        with_text.has_query.store(false, Ordering::Relaxed);
        let here = Hva::new(both_ways_to_ask_agree_about_this_process as *const () as u64);
        let mut queried = with_query.at_or_above(here).unwrap().unwrap();
        queried.page = None;
        assert_eq!(queried, with_text.at_or_above(here).unwrap().unwrap());
        assert_eq!(with_query.name(here), with_text.name(here));
        assert!(with_query.name(here).starts_with('/'));
        assert!(with_query.is_alive() && with_text.is_alive());
    }
}
