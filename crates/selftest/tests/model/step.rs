//! A step of a program: one call, whose arguments say what they mean ("the second IOAS", "half of the third area") and get their
//! numbers from what the steps before have made. So a program keeps its sense when steps are taken out of it.

use std::fmt;

/// A list in a step. It prints as the expression that makes it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct List<T>(pub(crate) Vec<T>);

/// The list of these.
pub(crate) fn list<T>(items: impl Into<Vec<T>>) -> List<T> {
    List(items.into())
}

impl<T: fmt::Debug> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "list({:?})", self.0)
    }
}

/// Which object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pick {
    /// The n-th, in the order of numbers and over again, of those that suit.
    Nth(usize),
    /// The n-th of a sort, likewise.
    Of(Sort, usize),
    /// The n-th of all, whether it suits or not.
    Any(usize),
    /// The n-th of the numbers that have no object any more.
    Gone(usize),
    /// The one with this number.
    Id(u32),
}

/// A sort of objects that is wanted where others would do, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sort {
    Ioas,
    /// A nesting parent.
    Parent,
    Viommu,
    Nested,
    /// A page table for PASIDs, and for the RID beside them.
    ForPasids,
    /// A page table that tracks what is dirty.
    ForDirty,
}

/// An IOVA to map at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// The n-th slot of 2 KiB of a page table that has an aperture.
    Slot(u64),
    /// Right behind the n-th area.
    After(usize),
    /// This one.
    Iova(u64),
}

/// A range of IOVAs of an IOAS. Without the area that is meant, it is two slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Span {
    /// The n-th area.
    Area(usize),
    /// From the n-th area to the one that is so many behind it.
    Areas(usize, usize),
    /// Bytes of the n-th area, and perhaps beyond: how many are skipped, how many follow.
    Part(usize, u64, u64),
    /// Slots of 2 KiB: the first, and how many.
    Slots(u64, u64),
    /// This start and this length.
    Bytes(u64, u64),
}

/// An address of the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Memory {
    /// A page of the buffer. Its last ones are read-only; behind it is nothing.
    Page(u64),
    /// A byte of the buffer.
    Byte(u64),
    /// What is behind the start of the span.
    Behind,
    /// Where the words of the call are.
    Scratch,
    /// The null pointer.
    Null,
    /// This one.
    Address(u64),
}

/// The driver's part of an allocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Data {
    pub(crate) kind: u32,
    pub(crate) len: u32,
    /// The first two words of it.
    pub(crate) words: [u32; 2],
    /// Whether it is there.
    pub(crate) at: Memory,
}

/// One call.
#[derive(Clone, PartialEq, Eq, Debug)]
#[rustfmt::skip]
pub(crate) enum Step {
    Destroy { id: Pick },
    IoasAlloc { flags: u32 },
    IovaRanges { ioas: Pick, room: u32, reserved: u32 },
    AllowIovas { ioas: Pick, ranges: List<(u64, u64)>, reserved: u32 },
    AddReserved { ioas: Pick, span: Span },
    Map { ioas: Pick, memory: Memory, len: u64, at: Place, flags: u32, reserved: u32 },
    Unmap { ioas: Pick, span: Span },
    Copy { from: Pick, span: Span, to: Pick, at: Place, flags: u32 },
    ChangeProcess { reserved: u32 },
    IommuOption { option: u32, op: u16, object: Pick, value: u64, reserved: u16 },
    VfioIoas { op: u16, ioas: Pick, reserved: u16 },
    VfioMap { memory: Memory, len: u64, at: Place, flags: u32, argsz: u32 },
    VfioUnmap { span: Span, flags: u32, argsz: u32 },
    VfioExtension { extension: u64 },
    VfioSetIommu { kind: u64 },
    MockDomain { on: Pick, flags: u32 },
    Replace { stdev: Pick, on: Pick },
    PasidAttach { stdev: Pick, pasid: u32, on: Pick },
    PasidReplace { stdev: Pick, pasid: u32, on: Pick },
    PasidDetach { stdev: Pick, pasid: u32 },
    PasidCheck { stdev: Pick, pasid: u32, hwpt: Pick },
    HwptAlloc { device: Pick, on: Pick, flags: u32, fault: Pick, data: Data, reserved: u32 },
    HwInfo { device: Pick, flags: u32, kind: u32, room: u32 },
    SetDirtyTracking { hwpt: Pick, flags: u32 },
    GetDirtyBitmap { hwpt: Pick, span: Span, page: u64, flags: u32, reserved: u32 },
    Dirty { hwpt: Pick, span: Span, page: u64, bits: u64 },
    Invalidate { target: Pick, kind: u32, len: u32, count: u32, words: List<u32>, at: Memory, reserved: u32 },
    FaultAlloc { flags: u32 },
    TriggerIopf { device: Pick, pasid: u32, group: u32, perm: u32, address: u64 },
    ReadFaults { fault: Pick, count: usize },
    Respond { fault: Pick, answers: List<(u32, u32)>, tail: usize },
    CloseFault { fault: Pick },
    ViommuAlloc { device: Pick, parent: Pick, kind: u32, flags: u32, data: Data },
    VdeviceAlloc { viommu: Pick, device: Pick, virt_id: u64 },
    VeventqAlloc { viommu: Pick, kind: u32, depth: u32, flags: u32, reserved: u32 },
    TriggerVevent { device: Pick },
    ReadEvents { veventq: Pick, count: usize },
    CloseVeventq { veventq: Pick },
    HwQueueAlloc { viommu: Pick, kind: u32, index: u32, span: Span, flags: u32 },
    CreateAccess { ioas: Pick, flags: u32 },
    CloseAccess { access: Pick },
    AccessReplace { access: Pick, ioas: Pick },
    AccessPages { access: Pick, span: Span, memory: Memory, flags: u32 },
    UnpinPages { access: Pick, item: u32 },
    AccessRw { access: Pick, span: Span, fill: u8, flags: u32 },
    CheckMap { hwpt: Pick, span: Span, memory: Memory },
    CheckRefs { page: u64, count: u64, refs: u32 },
    CheckIotlb { nested: Pick, entry: u32, value: u32 },
    CheckCache { device: Pick, entry: u32, value: u32 },
}
