//! What the Arm SMMU Architecture Specification (IHI 0070, SMMUv3) defines, in its terms.

mod cd;
mod command;
mod context;
mod event;
mod granule;
mod guest_ste;
mod id_registers;
mod ste;

pub use cd::{Cd, CdRule, Stage1};
pub use command::{Command, CommandError, Cover, Substreams};
pub use context::{Context, Half, TopBytes};
pub use event::{Class, Event, EventId, FaultStage, Transaction};
pub use granule::{AddressSize, Granule};
pub use guest_ste::{GuestConfig, GuestSte, GuestSteError};
pub use id_registers::IdRegisters;
pub(crate) use id_registers::MOST_STALLED;
pub use ste::{CdTable, Config, DefaultSubstream, Stage2, Stage2Flags, Ste, SteRule};
