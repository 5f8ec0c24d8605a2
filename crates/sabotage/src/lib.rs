//! Named one-line faults, to prove that the tests can fail.
//!
//! In a normal build [`Fault::is_on`] is `false` at compile time and nothing of this remains. Built with `--cfg sabotage`, the
//! variable `SWIOMMU_SABOTAGE` names the one fault to commit; `.ci/sabotage` commits each in turn, and a fault that leaves every
//! test green is an error.

#![no_std]
#![forbid(unsafe_code)]

macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident = $name:literal,)*) => {
        /// A fault.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Fault {
            $($(#[$doc])* $fault,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$fault),*];

            /// The name that `SWIOMMU_SABOTAGE` chooses it by.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$fault => $name,)*
                }
            }
        }
    };
}

faults! {
    /// The last leaf of a mapping is missing.
    DropLeaf = "drop-leaf",
    /// A page table keeps what is unmapped.
    SkipUnmap = "skip-unmap",
    /// A page is counted twice when it is pinned.
    PinTwice = "pin-twice",
    /// Unpinning forgets the last page.
    KeepPin = "keep-pin",
    /// The number of a destroyed object is not given out again.
    KeepId = "keep-id",
    /// A file whose last descriptor was closed is not released.
    LateRelease = "late-release",
    /// Automatic placement aligns to bytes.
    WrongAlignment = "wrong-alignment",
    /// A page table's aperture is not reserved.
    IgnoreReserved = "ignore-reserved",
    /// A read-only mapping becomes writable.
    IgnoreReadOnly = "ignore-read-only",
    /// A mapping that fails leaves its area behind.
    KeepFailedArea = "keep-failed-area",
    /// An unknown object is noticed before an unknown flag.
    WrongErrnoOrder = "wrong-errno-order",
    /// An automatic page table stays when its last device leaves.
    KeepAutomatic = "keep-automatic",
    /// Unmapping does not ask accesses to let go.
    SkipNotify = "skip-notify",
    /// A copy is charged again.
    ChargeCopy = "charge-copy",
    /// Of the free numbers, the highest is given out.
    HighestId = "highest-id",
    /// The number of a destroyed vDEVICE is given out again.
    ForgetTombstone = "forget-tombstone",
    /// One user does not keep an object from being destroyed.
    DestroyUsed = "destroy-used",
    /// The page table that a device was moved away from stays.
    KeepReplaced = "keep-replaced",
    /// The page requests of an attachment outlive it.
    KeepFaults = "keep-faults",
    /// A page table that shall report page requests does not know where.
    ForgetFaultQueue = "forget-fault-queue",
    /// A PASID is attached beside any page table of the RID.
    PasidBesideAny = "pasid-beside-any",
    /// Two devices of a virtual IOMMU have the same number.
    VirtIdTwice = "virt-id-twice",
    /// A hardware queue does not keep the one below it.
    ForgetLowerQueue = "forget-lower-queue",
    /// Events that were lost have no numbers.
    ForgetLost = "forget-lost",
    /// Automatic placement does not know the allowed ranges.
    IgnoreAllowed = "ignore-allowed",
    /// An access that leaves has its alignment stay.
    KeepAlignment = "keep-alignment",
    /// An area of which a part is unmapped goes as a whole.
    UnmapPart = "unmap-part",
    /// A copy makes memory writable that was mapped to be read.
    WriteReadOnlyMemory = "write-read-only-memory",
    /// Reading what is dirty does not make it clean.
    KeepDirty = "keep-dirty",
    /// An invalidation of a guest's table forgets nothing.
    SkipInvalidation = "skip-invalidation",
    /// An invalidation of a range forgets everything.
    InvalidateAll = "invalidate-all",
    /// An invalidation of entries keeps the tables that are known.
    KeepTables = "keep-tables",
    /// An invalidation of leaves forgets the tables that are known.
    ForgetTables = "forget-tables",
    /// What was found before an invalidation is cached after it.
    LateInsert = "late-insert",
    /// What an unmap of the second stage leaves is cached of both.
    KeepNested = "keep-nested",
    /// A translation through two stages is as large as the larger of their leaves.
    LargeTranslation = "large-translation",
    /// What a guest forbids is not checked when it was cached for another access.
    IgnoreCachedAccess = "ignore-cached-access",
    /// A port goes on with what was attached before.
    KeepAttachment = "keep-attachment",
    /// Nobody waits for requests in flight.
    SkipWait = "skip-wait",
}

impl Fault {
    /// Whether this fault shall be committed.
    #[cfg(not(sabotage))]
    #[inline]
    pub const fn is_on(self) -> bool {
        false
    }

    /// Whether this fault shall be committed.
    #[cfg(sabotage)]
    pub fn is_on(self) -> bool {
        extern crate std;
        static CHOSEN: std::sync::OnceLock<Option<std::string::String>> =
            std::sync::OnceLock::new();
        let chosen = CHOSEN.get_or_init(|| std::env::var("SWIOMMU_SABOTAGE").ok());
        chosen.as_deref() == Some(self.name())
    }
}
