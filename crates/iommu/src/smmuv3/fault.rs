//! Which event a fault of a walk is.

use std::fmt;

use swiommu_addr::{Address, Gpa};
use swiommu_pgtable::{Access, EntryAction, Malformed, Refusal, WalkFault};

use super::descriptors::NoDescriptor;
use super::spec::{Class, Context, Event, EventId, FaultStage, Ste, Transaction};
use crate::two_stage::{GuestFault, GuestWalkFault, HostFault};

/// What is wrong with a request, as the event that tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wrong {
    /// `None` when nothing is: the request is aborted because it is to be.
    pub(super) id: Option<EventId>,
    pub(super) stage: FaultStage,
    pub(super) class: Class,
    /// The event and where it happened, for the log and for the device.
    pub(super) reason: String,
    pub(super) handling: Handling,
}

/// What becomes of a request that is not translated, and who learns of it (3.12).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Handling {
    /// It waits, and the event says so.
    Stall,
    /// It is aborted, and an event is recorded.
    Record,
    /// It is aborted, and that is all.
    Silent,
}

impl Handling {
    fn of(stalls: bool, records: bool) -> Self {
        match (stalls, records) {
            (true, _) => Self::Stall,
            (false, true) => Self::Record,
            (false, false) => Self::Silent,
        }
    }
}

impl Wrong {
    /// What is wrong with the configuration, or with the address before any walk.
    pub(super) fn new(id: EventId, text: &impl fmt::Display) -> Self {
        Self::at(id, FaultStage::One, Class::Input, text)
    }

    /// Nothing is, and nobody is told.
    pub(super) fn nothing(text: &impl fmt::Display) -> Self {
        Self {
            id: None,
            stage: FaultStage::One,
            class: Class::Input,
            reason: text.to_string(),
            handling: Handling::Silent,
        }
    }

    fn at(id: EventId, stage: FaultStage, class: Class, text: &impl fmt::Display) -> Self {
        Self {
            id: Some(id),
            stage,
            class,
            reason: format!("{id}: {text}"),
            handling: Handling::Record,
        }
    }

    fn is_translation_fault(&self) -> bool {
        self.id.is_some_and(EventId::is_translation_fault)
    }

    /// The event, if it is one that Linux hands on to the guest: what its own structures are to blame for.
    pub(super) fn event(&self, transaction: Transaction) -> Option<Event> {
        let id = self.id.filter(|id| id.is_for_guests());
        let id = id.filter(|_| self.stage == FaultStage::One)?;
        Some(Event {
            id,
            transaction,
            stage: self.stage,
            class: self.class,
            stall: None,
        })
    }

    /// A fault of stage 1 is handled as the context descriptor says.
    pub(super) fn in_context(mut self, context: &Context) -> Self {
        if self.is_translation_fault() && self.stage == FaultStage::One {
            self.handling = Handling::of(context.stalls, context.records);
        }
        self
    }

    /// A fault of stage 2 is handled as the stream table entry says.
    pub(super) fn in_entry(mut self, ste: &Ste) -> Self {
        if self.is_translation_fault() && self.stage != FaultStage::One {
            self.handling = Handling::of(ste.stage2_stalls(), ste.stage2_records());
        }
        self
    }

    /// A fault of stage 2, on the way of an access to `ipa`.
    pub(super) fn stage2(class: Class, ipa: Gpa, fault: &HostFault) -> Self {
        let text = format!("stage 2, {ipa}: {fault}");
        Self::at(event_of(fault), FaultStage::Two { ipa }, class, &text)
    }

    /// A fault of a walk of a guest's tables.
    pub(super) fn stage1(fault: &GuestWalkFault) -> Self {
        match fault {
            WalkFault::Entry {
                at,
                action,
                fault: GuestFault::Stage2(outer),
                ..
            } => {
                let access = match action {
                    EntryAction::Read => Access::PRIVILEGED_READ,
                    EntryAction::Update => Access::PRIVILEGED_WRITE,
                };
                Self::stage2(Class::Table { access }, at.gpa(), outer)
            }
            other => Self::new(event_of(other), other),
        }
    }

    /// There is no context descriptor.
    pub(super) fn descriptor(none: &NoDescriptor) -> Self {
        match none {
            NoDescriptor::Pointer => Self::new(
                EventId::BadSubstreamId,
                &"the upper table has no table of descriptors for it",
            ),
            NoDescriptor::Stage2 { at, fault } => Self::stage2(Class::Cd, *at, fault),
            NoDescriptor::Memory(error) => Self::new(EventId::CdFetch, error),
        }
    }
}

/// The event of a walk's fault, whatever the stage.
pub(super) fn event_of<A: Address, E>(fault: &WalkFault<A, E>) -> EventId {
    match fault {
        WalkFault::Input { .. } => EventId::Translation,
        WalkFault::Entry { .. } => EventId::WalkExternalAbort,
        WalkFault::Refused { reason, .. } => match reason {
            Refusal::Malformed(Malformed::AddressSize) => EventId::AddressSize,
            Refusal::AccessFlag => EventId::Access,
            Refusal::Permission { .. } => EventId::Permission,
            // To mark it is an access that does not succeed.
            Refusal::Contended => EventId::WalkExternalAbort,
            _ => EventId::Translation,
        },
    }
}
