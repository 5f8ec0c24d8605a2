//! Which files processes have mapped.

use std::fs;

use rustix::fs::makedev;
use swiommu_mem::{FileId, FileOffset, FileRange};

/// Whether any process that we may look at maps any of these bytes of a file.
pub(crate) fn is_mapped(file: FileId, bytes: FileRange) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else {
        return false;
    };
    let is_process = |entry: &fs::DirEntry| {
        entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.bytes().all(|c| c.is_ascii_digit()))
    };
    processes
        .filter_map(Result::ok)
        .filter(is_process)
        .any(|process| {
            let maps = fs::read_to_string(process.path().join("maps")).unwrap_or_default();
            let mut mapped = maps.lines().filter_map(parse);
            mapped.any(|(mapped, range)| mapped == file && range.overlaps(bytes))
        })
}

/// What a line of `/proc/PID/maps` says of a file.
fn parse(line: &str) -> Option<(FileId, FileRange)> {
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let device_number = |text: &str| u32::from_str_radix(text, 16).ok();
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let _protection = fields.next()?;
    let offset = hex(fields.next()?)?;
    let (major, minor) = fields.next()?.split_once(':')?;
    let device = makedev(device_number(major)?, device_number(minor)?);
    let inode = fields.next()?.parse().ok().filter(|inode| *inode != 0)?;
    let len = hex(end)?.checked_sub(hex(start)?)?;
    Some((
        FileId { device, inode },
        FileRange::from_len(FileOffset::new(offset), len)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_a_file_is_understood_and_one_without_is_passed_over() {
        let line = "7f00a000-7f00c000 rw-s 00001000 00:01 1234 /memfd:iommu (deleted)";
        let file = FileId {
            device: makedev(0, 1),
            inode: 1234,
        };
        let range = FileRange::from_len(FileOffset::new(0x1000), 0x2000).unwrap();
        assert_eq!(parse(line), Some((file, range)));
        assert_eq!(
            parse("7f00a000-7f00c000 rw-p 00000000 00:00 0 [heap]"),
            None
        );
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn this_program_maps_its_own_file_and_no_other() {
        use std::os::unix::fs::MetadataExt;
        let own = fs::metadata("/proc/self/exe").unwrap();
        let whole = FileRange::from_len(FileOffset::new(0), own.len()).unwrap();
        assert!(is_mapped(
            FileId {
                device: own.dev(),
                inode: own.ino()
            },
            whole
        ));
        assert!(!is_mapped(
            FileId {
                device: own.dev(),
                inode: u64::MAX
            },
            whole
        ));
    }
}
