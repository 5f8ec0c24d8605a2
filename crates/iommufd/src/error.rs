//! Why a call failed: one variant per rule, each with the errno that Linux gives for it.

use swiommu_abi::Errno;
use swiommu_addr::{Hva, Iova, IovaRange, PageSize};
use swiommu_files::Refusal;
use swiommu_injection::Injected;
use swiommu_iommu::{DriverError, Pasid};
use swiommu_iova::{AllowError, InsertError, NotAllowed, PlaceError, ReserveError};
use swiommu_mem::PinError;

use crate::hwpt::HwptFlags;
use crate::object::ObjectId;

/// A broken rule. [`errno`](Error::errno) is what the client sees; the text is for the person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the message of a variant says what it means")]
pub enum Error {
    // The call itself.
    #[error("the caller's memory at {0} cannot be accessed")]
    CallerMemory(Hva),
    #[error("the struct is {size} bytes long, and {min} is the least")]
    TooShort { size: u32, min: usize },
    #[error("a field that this version does not know is not zero")]
    UnknownTail,
    #[error("there is no ioctl {0:#x}")]
    NoSuchIoctl(u32),
    #[error("{0} is not served")]
    NotServed(&'static str),
    #[error("{field} = {value:#x} has a bit that has no meaning")]
    UnknownFlags { field: &'static str, value: u64 },
    #[error("{field} = {value:#x} is not one of its values")]
    BadValue { field: &'static str, value: u64 },
    #[error("{field} = {value:#x} is not a thing that can be chosen")]
    UnknownChoice { field: &'static str, value: u64 },
    #[error("argsz {argsz} is below {min}")]
    ShortArgsz { argsz: u32, min: u32 },
    #[error("the caller lacks {0}")]
    NotCapable(&'static str),
    #[error("a descriptor could not be opened for the caller: {errno}")]
    Install { errno: Errno },
    #[error("descriptor {fd}: {errno}")]
    Descriptor { fd: i32, errno: Errno },

    #[error(transparent)]
    Injected(#[from] Injected),

    // Objects.
    #[error("there is no object {0}")]
    NoObject(ObjectId),
    #[error("object {id} is of type {found}, not {wanted}")]
    WrongType {
        id: ObjectId,
        wanted: &'static str,
        found: &'static str,
    },
    #[error("{name} {id} is in use ({users} users)")]
    InUse {
        id: ObjectId,
        name: &'static str,
        users: u32,
    },
    #[error("all object numbers are taken")]
    OutOfIds,
    #[error("the rlimit mode can be chosen only while the context has no objects")]
    HasObjects,

    // Addresses.
    #[error("the range from {start:#x} of {len:#x} bytes passes 2^64-1")]
    Overflow { start: u64, len: u64 },
    #[error("a length of 0")]
    ZeroLength,
    #[error("a length of {0:#x} is more than any mapping can have")]
    TooLong(u64),
    #[error("{what} {value:#x} is not a multiple of the IOAS alignment {alignment}")]
    Misaligned {
        what: &'static str,
        value: u64,
        alignment: PageSize,
    },
    #[error("a mapping must be readable or writable")]
    NoPermission,
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("{0}")]
    Insert(#[from] InsertError),
    #[error(transparent)]
    Reserve(#[from] ReserveError),
    #[error(transparent)]
    Allow(#[from] AllowError),
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    #[error("more than {0} ranges do not fit the array")]
    ArrayTooSmall(u32),

    // Areas.
    #[error("nothing is mapped at {0}")]
    NotMapped(Iova),
    #[error("nothing is mapped in {0}")]
    NothingIn(IovaRange),
    #[error("{range} covers the area {area} only in part, and areas are not split")]
    PartOfArea { range: IovaRange, area: IovaRange },
    #[error("the area {0} is being mapped or unmapped by another call")]
    AreaBusy(IovaRange),
    #[error("the area {0} is being unmapped")]
    AreaClosing(IovaRange),
    #[error("the area {0} is pinned by an access")]
    AreaPinned(IovaRange),
    #[error("the users of the area {0} did not let go of it")]
    Deadlock(IovaRange),
    #[error("the area {0} does not allow this access")]
    AreaDenies(IovaRange),
    #[error("the memory of the area {0} was mapped read-only")]
    MemoryReadOnly(IovaRange),
    #[error("the area {0} does not end on a page, and more follows")]
    PartialPage(IovaRange),
    #[error("an area cannot be cut at {0} while large pages are on and the IOAS has a page table")]
    CutWithLargePages(Iova),
    #[error("the area {area} is not aligned to {alignment}, which this needs")]
    AreaMisaligned {
        area: IovaRange,
        alignment: PageSize,
    },
    #[error("the smallest leaf, {0}, is larger than a page")]
    LeafLargerThanPage(PageSize),
    #[error("large pages cannot be turned off once a page table has mappings")]
    LargePagesInUse,
    #[error("a mapping of {0} stays with its process: only MAP_FILE of a memfd can change hands")]
    CannotChangeProcess(IovaRange),
    #[error("a dma-buf cannot be accessed by software")]
    DmaBufAccess,
    #[error("the area {0} is of a dma-buf, which cannot be cut")]
    CutDmaBuf(IovaRange),
    #[error("byte {last:#x} is beyond the dma-buf's {len:#x}")]
    BeyondDmaBuf { last: u64, len: u64 },
    #[error("the memory of the area {0} was revoked by its exporter")]
    RevokedArea(IovaRange),
    #[error("the IOAS is not that of a device without an IOMMU")]
    HasIommu,
    #[error("the dma-buf cannot be attached to: its exporter has revoked it")]
    DmaBufRevoked { errno: Errno },
    #[error(transparent)]
    Pin(#[from] PinError),

    // Page tables.
    #[error(
        "a page table cannot be allocated on object {0}: it is none, or not an IOAS or a page table"
    )]
    CannotAllocateOn(ObjectId),
    #[error("flags {flags:?}: {why}")]
    HwptFlags { flags: HwptFlags, why: &'static str },
    #[error("data_type and data_len must both be zero or both not")]
    DataTypeWithoutData,
    #[error("the page table was not allocated for dirty tracking")]
    NoDirtyTracking,
    #[error("{range} is not made of whole pages of {granule}")]
    DirtyRange { range: IovaRange, granule: PageSize },
    #[error("a nested page table needs driver data")]
    NestedWithoutData,
    #[error("the driver {driver} cannot nest on a page table")]
    CannotNest { driver: &'static str },
    #[error("page table {0} was not allocated as a nesting parent")]
    NotNestingParent(ObjectId),
    #[error("the page table is of the driver {domain}, the device of {endpoint}")]
    OtherDriver {
        domain: &'static str,
        endpoint: &'static str,
    },
    #[error(transparent)]
    Driver(#[from] DriverError),

    // Faults, virtual IOMMUs, queues.
    #[error("the first group of page requests does not fit the buffer")]
    FaultGroupTooLarge,
    #[error("the next event needs {0} bytes")]
    EventTooLarge(usize),
    #[error("object {0} cannot be invalidated: only nested page tables and vIOMMUs can")]
    CannotInvalidate(ObjectId),
    #[error("the device is not behind the physical IOMMU of vIOMMU {0}")]
    OtherUnit(ObjectId),
    #[error("device {device} has a vDEVICE, {vdevice}")]
    HasVdevice { device: ObjectId, vdevice: ObjectId },
    #[error("virt_id {virt_id:#x} belongs to vDEVICE {vdevice}")]
    VirtIdTaken { virt_id: u64, vdevice: ObjectId },
    #[error("vIOMMU {viommu} has a queue for events of type {event_type:#x}")]
    HasVeventq { viommu: ObjectId, event_type: u32 },
    #[error("the pages around {0} pass 2^64-1")]
    QueueOutOfRange(IovaRange),
    #[error("the memory behind {0} is not contiguous")]
    QueueScattered(IovaRange),
    #[error("the client still maps memory of vIOMMU {0}")]
    RegionMapped(ObjectId),
    #[error("the area {0} holds a hardware queue")]
    AreaLocked(IovaRange),

    // Devices.
    #[error("the device's DMA is not coherent")]
    NotCoherent,
    #[error("the device's interrupts are not isolated")]
    UnsafeInterrupts,
    #[error("object {id} is of type {found}: a device can be attached to an IOAS or a page table")]
    CannotAttachTo { id: ObjectId, found: &'static str },
    #[error("device {device} is already attached for {pasid}, to {hwpt}")]
    AlreadyAttached {
        device: ObjectId,
        pasid: Pasid,
        hwpt: ObjectId,
    },
    #[error("the device's group is attached for {pasid} to another page table, {hwpt}")]
    GroupAttachedElsewhere { pasid: Pasid, hwpt: ObjectId },
    #[error("device {device} is not attached for {pasid}")]
    NotAttached { device: ObjectId, pasid: Pasid },
    #[error("page table {0} was not allocated for use beside PASIDs")]
    NotPasidCompatible(ObjectId),
    #[error("the driver {driver} cannot attach to PASIDs")]
    NoPasids { driver: &'static str },
    #[error("{pasid} is not below the device's {max} PASIDs")]
    PasidTooLarge { pasid: Pasid, max: u32 },
    #[error("the device reports {0} interrupt windows of which only one can be")]
    InterruptWindows(usize),

    // Software access.
    #[error("the access is not attached to an IOAS")]
    AccessDetached,
    #[error("the access is being moved to another IOAS")]
    AccessMoving,

    // The VFIO container.
    #[error("the context has no IOAS for VFIO")]
    NoVfioIoas,
}

impl Error {
    /// What Linux 7.3 returns for this.
    pub fn errno(&self) -> Errno {
        use Error as E;
        match self {
            E::NotCapable(_) | E::AreaDenies(_) | E::MemoryReadOnly(_) | E::UnsafeInterrupts => {
                Errno::EPERM
            }
            E::NoObject(_)
            | E::WrongType { .. }
            | E::NotMapped(_)
            | E::NothingIn(_)
            | E::PartOfArea { .. }
            | E::AccessDetached => Errno::ENOENT,
            E::UnknownTail => Errno::E2BIG,
            E::OutOfIds => Errno::ENOMEM,
            E::CallerMemory(_) | E::QueueScattered(_) => Errno::EFAULT,
            E::InUse { .. }
            | E::HasObjects
            | E::AreaBusy(_)
            | E::AlreadyAttached { .. }
            | E::AccessMoving
            | E::AreaLocked(_)
            | E::RegionMapped(_) => Errno::EBUSY,
            E::NoVfioIoas => Errno::ENODEV,
            E::TooShort { .. }
            | E::BadValue { .. }
            | E::ShortArgsz { .. }
            | E::ZeroLength
            | E::TooLong(_)
            | E::Misaligned { .. }
            | E::NoPermission
            | E::AreaClosing(_)
            | E::AreaPinned(_)
            | E::PartialPage(_)
            | E::CutWithLargePages(_)
            | E::LeafLargerThanPage(_)
            | E::LargePagesInUse
            | E::CannotChangeProcess(_)
            | E::CannotAllocateOn(_)
            | E::DataTypeWithoutData
            | E::NotNestingParent(_)
            | E::OtherDriver { .. }
            | E::NotCoherent
            | E::CannotAttachTo { .. }
            | E::GroupAttachedElsewhere { .. }
            | E::NotAttached { .. }
            | E::NotPasidCompatible(_)
            | E::PasidTooLarge { .. }
            | E::InterruptWindows(_)
            | E::DirtyRange { .. }
            | E::FaultGroupTooLarge
            | E::DmaBufAccess
            | E::RevokedArea(_)
            | E::BeyondDmaBuf { .. }
            | E::EventTooLarge(_)
            | E::CannotInvalidate(_)
            | E::OtherUnit(_)
            | E::Insert(InsertError::Reserved(_))
            | E::Place(PlaceError::Misaligned { .. })
            | E::Allow(_) => Errno::EINVAL,
            E::NoSuchIoctl(_) => Errno::ENOTTY,
            E::Deadlock(_) => Errno::EDEADLK,
            E::Overflow { .. } | E::Place(PlaceError::Overflow) => Errno::EOVERFLOW,
            E::ArrayTooSmall(_) => Errno::EMSGSIZE,
            E::UnknownFlags { .. }
            | E::UnknownChoice { .. }
            | E::NotServed(_)
            | E::HasIommu
            | E::HwptFlags { .. }
            | E::NestedWithoutData
            | E::NoDirtyTracking
            | E::CutDmaBuf(_)
            | E::CannotNest { .. }
            | E::NoPasids { .. } => Errno::EOPNOTSUPP,
            E::Reserve(_) | E::NotAllowed(_) | E::AreaMisaligned { .. } => Errno::EADDRINUSE,
            E::Insert(InsertError::Area(_))
            | E::HasVdevice { .. }
            | E::VirtIdTaken { .. }
            | E::HasVeventq { .. } => Errno::EEXIST,
            E::QueueOutOfRange(_) => Errno::ERANGE,
            E::Place(PlaceError::NoSpace) => Errno::ENOSPC,
            E::Descriptor { errno, .. } | E::Install { errno } | E::DmaBufRevoked { errno } => {
                *errno
            }
            E::Injected(injected) => injected.errno(),
            E::Pin(error) => error.errno(),
            E::Driver(error) => error.errno,
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::new(error.errno(), error)
    }
}
