//! Why requests are not translated, by the numbers that fault records have for it (7.1.3).

/// A fault reason in scalable mode.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[repr(u8)]
pub enum FaultReason {
    /// SPT.1: the PASID entry is not present.
    #[error("the PASID-table entry is not present (0x59)")]
    PasidEntryNotPresent = 0x59,
    /// SPT.3: a field of the PASID entry is invalid.
    #[error("the PASID-table entry is invalid (0x5b)")]
    PasidEntryInvalid = 0x5b,
    /// SPT.5: execution is requested and not enabled.
    #[error("execute requests are not enabled (0x5c)")]
    ExecuteDisabled = 0x5c,
    /// SPT.6: a privileged request where none is enabled.
    #[error("supervisor requests are not enabled (0x5d)")]
    SupervisorDisabled = 0x5d,
    /// SFS.1: a first-stage entry could not be read.
    #[error("a first-stage entry cannot be accessed (0x70)")]
    FirstStageAccess = 0x70,
    /// SFS.2: a first-stage entry is not present.
    #[error("a first-stage entry is not present (0x71)")]
    FirstStageNotPresent = 0x71,
    /// SFS.3: a reserved bit of a first-stage entry is set.
    #[error("a reserved bit of a first-stage entry is set (0x72)")]
    FirstStageReserved = 0x72,
    /// SFS.4: the first-stage root could not be read.
    #[error("the first-stage root cannot be accessed (0x73)")]
    FirstStageRootAccess = 0x73,
    /// SFS.5: a first-stage address is beyond the second stage's width.
    #[error("a first-stage table is beyond the width of the second stage (0x74)")]
    FirstStageBeyondSecond = 0x74,
    /// The second stage does not permit reading the first-stage root.
    #[error("the second stage does not lead to the first-stage root (0x75)")]
    RootNotInSecondStage = 0x75,
    /// The second stage does not permit reading a first-stage entry.
    #[error("the second stage does not lead to a first-stage table (0x76)")]
    TableNotInSecondStage = 0x76,
    /// The second stage does not permit writing a first-stage entry, which is to be marked.
    #[error("the second stage does not permit marking a first-stage entry (0x77)")]
    TableNotWritable = 0x77,
    /// SSS.1: a second-stage entry could not be read.
    #[error("a second-stage entry cannot be accessed (0x78)")]
    SecondStageAccess = 0x78,
    /// SSS.2: the second stage does not permit it, or is not present.
    #[error("the second stage does not permit it (0x79)")]
    SecondStagePermission = 0x79,
    /// SSS.3: a reserved bit of a second-stage entry is set.
    #[error("a reserved bit of a second-stage entry is set (0x7a)")]
    SecondStageReserved = 0x7a,
    /// SGN.1: the address is not canonical.
    #[error("the address is not canonical (0x80)")]
    NotCanonical = 0x80,
    /// SGN.2: a user request to a supervisor page.
    #[error("a user request to a supervisor page (0x81)")]
    UserSupervisor = 0x81,
    /// SGN.3: an execute request to a page with XD.
    #[error("an execute request to a page that forbids it (0x82)")]
    Execute = 0x82,
    /// SGN.4: the address is beyond the second stage's width.
    #[error("the address is beyond the width of the second stage (0x83)")]
    BeyondSecondStage = 0x83,
    /// SGN.5: a write without write permission.
    #[error("a write to a page that forbids it (0x85)")]
    Write = 0x85,
    /// SGN.6: a read without read permission.
    #[error("a read of a page that forbids it (0x86)")]
    Read = 0x86,
}

impl FaultReason {
    /// The number in a fault record.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether software may mend it and let the device ask again by a page request: what a first stage says about a page.
    pub const fn can_be_requested(self) -> bool {
        matches!(
            self,
            Self::FirstStageNotPresent
                | Self::UserSupervisor
                | Self::Execute
                | Self::Write
                | Self::Read
        )
    }
}
