//! Why a request is refused.

use std::fmt;

use swiommu_addr::{Address, Gpa, Iova};
use swiommu_pgtable::{Access, EntryAction, Refusal, WalkFault};

use super::spec::FaultReason;
use crate::two_stage::{GuestFault, GuestWalkFault, HostFault};

/// Why a request is refused, and how its walk ended, if there was one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refused {
    pub(super) reason: FaultReason,
    walk: Option<String>,
}

impl From<FaultReason> for Refused {
    fn from(reason: FaultReason) -> Self {
        Self { reason, walk: None }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.walk {
            Some(walk) => write!(f, "{}: {walk}", self.reason),
            None => write!(f, "{}", self.reason),
        }
    }
}

impl Refused {
    fn walked(reason: FaultReason, walk: &impl ToString) -> Self {
        Self {
            reason,
            walk: Some(walk.to_string()),
        }
    }

    /// By a first stage of our own.
    pub(super) fn first_stage(fault: &HostFault) -> Self {
        let reason = first_stage_reason(fault, |_| FaultReason::FirstStageAccess);
        Self::walked(reason, fault)
    }

    /// By a guest's first stage.
    pub(super) fn guest(fault: &GuestWalkFault) -> Self {
        let reason = first_stage_reason(fault, |at_root| guest_entry_reason(fault, at_root));
        Self::walked(reason, fault)
    }

    /// By a second stage, alone.
    pub(super) fn second_stage(fault: &HostFault) -> Self {
        Self::walked(second_stage_reason(fault), fault)
    }

    /// By the second stage, for where a guest's first stage has led.
    pub(super) fn behind_guest(fault: &HostFault, iova: Iova, gpa: Gpa) -> Self {
        let walk = format!("{iova} is {gpa} to the guest: {fault}");
        Self::walked(second_stage_reason(fault), &walk)
    }
}

/// The reason of a first stage's walk; `entry` gives that of an entry that could not be accessed, told whether it is the root's.
fn first_stage_reason<A: Address, E>(
    fault: &WalkFault<A, E>,
    entry: impl FnOnce(bool) -> FaultReason,
) -> FaultReason {
    match fault {
        WalkFault::Input { .. } => FaultReason::NotCanonical,
        WalkFault::Entry { level, .. } => entry(*level >= ROOT_LEVEL),
        WalkFault::Refused { reason, .. } => match reason {
            Refusal::Malformed(_) => FaultReason::FirstStageReserved,
            Refusal::Permission { wanted, permitted } => permission_reason(*wanted, *permitted),
            _ => FaultReason::FirstStageNotPresent,
        },
    }
}

/// The lowest level that a root can be at.
const ROOT_LEVEL: u8 = 3;

fn permission_reason(wanted: Access, permitted: Access) -> FaultReason {
    let user = wanted.intersects(Access::USER);
    if user && !permitted.contains(Access::USER_READ) {
        FaultReason::UserSupervisor
    } else if wanted.intersects(Access::EXECUTE) {
        FaultReason::Execute
    } else if wanted.writes() {
        FaultReason::Write
    } else {
        FaultReason::Read
    }
}

/// The reason when an entry in the guest's memory could not be accessed.
fn guest_entry_reason(fault: &GuestWalkFault, at_root: bool) -> FaultReason {
    let WalkFault::Entry { action, fault, .. } = fault else {
        return FaultReason::FirstStageAccess;
    };
    match fault {
        GuestFault::Stage2(WalkFault::Input { .. }) => FaultReason::FirstStageBeyondSecond,
        GuestFault::Stage2(_) if *action == EntryAction::Update => FaultReason::TableNotWritable,
        GuestFault::Stage2(_) if at_root => FaultReason::RootNotInSecondStage,
        GuestFault::Stage2(_) => FaultReason::TableNotInSecondStage,
        GuestFault::Memory(_) if at_root => FaultReason::FirstStageRootAccess,
        GuestFault::Memory(_) | GuestFault::Located => FaultReason::FirstStageAccess,
    }
}

fn second_stage_reason(fault: &HostFault) -> FaultReason {
    match fault {
        WalkFault::Input { .. } => FaultReason::BeyondSecondStage,
        WalkFault::Entry { .. } => FaultReason::SecondStageAccess,
        WalkFault::Refused { reason, .. } => match reason {
            Refusal::Malformed(_) => FaultReason::SecondStageReserved,
            _ => FaultReason::SecondStagePermission,
        },
    }
}
