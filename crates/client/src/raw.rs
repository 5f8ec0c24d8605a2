//! Ioctls of IOMMUFD that the upstream crate has no wrapper for.

use std::io;
use std::os::fd::AsFd;

use iommufd_bindings::iommufd::{iommu_ioas_iova_ranges, iommu_iova_range};
use rustix::ioctl::{Opcode, Updater, ioctl};

/// `IOMMU_IOAS_IOVA_RANGES`.
const IOVA_RANGES: Opcode = 0x3b84;
/// `IOMMU_TEST_CMD`, of a kernel with `CONFIG_IOMMUFD_TEST`.
const TEST_CMD: Opcode = 0x3ba0;

/// The usable ranges of IOVAs of an IOAS: asked for twice, first how many there are.
///
/// # Errors
/// What the system says.
pub fn iova_ranges(iommufd: impl AsFd, ioas_id: u32) -> io::Result<Vec<iommu_iova_range>> {
    let mut ranges: Vec<iommu_iova_range> = Vec::new();
    loop {
        let mut arg = iommu_ioas_iova_ranges {
            size: size::<iommu_ioas_iova_ranges>(),
            ioas_id,
            num_iovas: u32::try_from(ranges.len()).unwrap_or(u32::MAX),
            __reserved: 0,
            allowed_iovas: match ranges.as_mut_slice() {
                [] => 0,
                entries => entries.as_mut_ptr().addr() as u64,
            },
            out_iova_alignment: 0,
        };
        // SAFETY: the number stands for this struct, and `allowed_iovas` points to `num_iovas` entries that are ours.
        let result = unsafe {
            ioctl(
                &iommufd,
                Updater::<IOVA_RANGES, iommu_ioas_iova_ranges>::new(&mut arg),
            )
        };
        let count = usize::try_from(arg.num_iovas).unwrap_or(usize::MAX);
        match result {
            Ok(()) => {
                ranges.truncate(count);
                return Ok(ranges);
            }
            Err(rustix::io::Errno::MSGSIZE) => {
                ranges.resize(count, iommu_iova_range { start: 0, last: 0 });
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// `struct iommu_test_cmd`: an operation, the object that it is about, and up to six words that mean what the operation says.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct TestCmd {
    size: u32,
    op: u32,
    id: u32,
    reserved: u32,
    words: [u64; 6],
    last: u64,
}

fn test(iommufd: impl AsFd, op: u32, id: u32, words: [u64; 6]) -> io::Result<[u64; 6]> {
    let size = size::<TestCmd>();
    let mut cmd = TestCmd {
        size,
        op,
        id,
        reserved: 0,
        words,
        last: 0,
    };
    // SAFETY: the number stands for this struct. Where a word is a pointer, the callers below pass one of their own.
    unsafe { ioctl(iommufd, Updater::<TEST_CMD, TestCmd>::new(&mut cmd)) }?;
    Ok(cmd.words)
}

/// A mock device that is attached.
#[derive(Clone, Copy, Debug)]
pub struct MockDevice {
    /// The test's own object: destroying it removes the device.
    pub stdev: u32,
    /// The page table that it is attached to.
    pub hwpt: u32,
    /// The DEVICE object.
    pub idev: u32,
}

/// Makes a mock device and attaches it to an IOAS or a page table.
///
/// # Errors
/// What the system says.
pub fn mock_domain(iommufd: impl AsFd, pt_id: u32) -> io::Result<MockDevice> {
    let [first, second, ..] = test(iommufd, 2, pt_id, [0; 6])?;
    Ok(MockDevice {
        stdev: low(first),
        hwpt: high(first),
        idev: low(second),
    })
}

/// Moves a mock device to another IOAS or page table.
///
/// # Errors
/// What the system says.
pub fn mock_domain_replace(iommufd: impl AsFd, stdev: u32, pt_id: u32) -> io::Result<()> {
    test(iommufd, 10, stdev, [pt_id.into(), 0, 0, 0, 0, 0]).map(|_| ())
}

/// Checks, in the page table's entries, that `memory` is what it maps at `iova`.
///
/// # Errors
/// `EINVAL` when it is not.
pub fn check_map(iommufd: impl AsFd, hwpt: u32, iova: u64, memory: (u64, u64)) -> io::Result<()> {
    let (address, len) = memory;
    test(iommufd, 3, hwpt, [iova, len, address, 0, 0, 0]).map(|_| ())
}

/// Checks what an entry of the IOTLB of a nested page table of the mock's holds.
///
/// # Errors
/// `EINVAL` when it is something else.
pub fn check_iotlb(iommufd: impl AsFd, hwpt: u32, entry: u32, value: u32) -> io::Result<()> {
    let word = u64::from(entry) | u64::from(value) << 32;
    test(iommufd, 14, hwpt, [word, 0, 0, 0, 0, 0]).map(|_| ())
}

/// Lets a mock device ask for a page that it wants to read, in a page request group of its own.
///
/// # Errors
/// What the system says.
pub fn trigger_iopf(iommufd: impl AsFd, idev: u32, group: u32, address: u64) -> io::Result<()> {
    const READ: u64 = 1;
    let words = [
        u64::from(idev),
        u64::from(group) | READ << 32,
        address,
        0,
        0,
        0,
    ];
    test(iommufd, 15, 0, words).map(|_| ())
}

/// Lets a mock device report an event to its guest.
///
/// # Errors
/// What the system says.
pub fn trigger_vevent(iommufd: impl AsFd, idev: u32) -> io::Result<()> {
    test(iommufd, 17, 0, [u64::from(idev), 0, 0, 0, 0, 0]).map(|_| ())
}

/// Opens a software access to an IOAS. Returns the number of its descriptor, which is the caller's to close.
///
/// # Errors
/// What the system says.
pub fn create_access(iommufd: impl AsFd, ioas_id: u32) -> io::Result<u32> {
    let [first, ..] = test(iommufd, 5, ioas_id, [0; 6])?;
    Ok(low(first))
}

/// Writes to an IOVA through an access.
///
/// # Errors
/// What the system says.
pub fn access_write(iommufd: impl AsFd, access: u32, iova: u64, from: &[u8]) -> io::Result<()> {
    const WRITE: u64 = 1;
    let words = [
        iova,
        from.len() as u64,
        from.as_ptr().addr() as u64,
        WRITE,
        0,
        0,
    ];
    test(iommufd, 8, access, words).map(|_| ())
}

/// Reads from an IOVA through an access.
///
/// # Errors
/// What the system says.
pub fn access_read(iommufd: impl AsFd, access: u32, iova: u64, into: &mut [u8]) -> io::Result<()> {
    let words = [
        iova,
        into.len() as u64,
        into.as_mut_ptr().addr() as u64,
        0,
        0,
        0,
    ];
    test(iommufd, 8, access, words).map(|_| ())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the low half is what is asked for"
)]
fn low(word: u64) -> u32 {
    word as u32
}

fn high(word: u64) -> u32 {
    low(word >> 32)
}

/// The size of a struct of the uAPI, as its first field says it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "structs of the uAPI are small"
)]
pub fn size<T>() -> u32 {
    size_of::<T>() as u32
}
