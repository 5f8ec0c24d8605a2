//! What a legal context descriptor says (5.4).

use swiommu_addr::Iova;
use swiommu_pgtable::HardwareUpdate;

use super::{AddressSize, Granule};

/// One half of the input addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Half {
    /// Where the root is. Bits that a root of this size does not have are 0.
    pub root: u64,
    /// Bits of an input address.
    pub input_bits: u8,
    /// The granule.
    pub granule: Granule,
    /// Whether table descriptors forbid nothing (HAD).
    pub hierarchy_ignored: bool,
}

/// Of which halves bits 63:56 of addresses are ignored (TBI0, TBI1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TopBytes(pub [bool; 2]);

impl TopBytes {
    /// An address as it is walked and cached: where its top byte is ignored, it is what bit 55 says.
    #[inline]
    pub fn canonical(self, iova: Iova) -> Iova {
        const TOP: u64 = 0xff << 56;
        if self.0 == [false; 2] {
            return iova;
        }
        let address = iova.get();
        Iova::new(match (is_upper(iova), self.0) {
            (true, [_, true]) => address | TOP,
            (false, [true, _]) => address & !TOP,
            _ => address,
        })
    }
}

/// Whether an address is of the upper half, if of any.
#[inline]
fn is_upper(iova: Iova) -> bool {
    iova.get() >> 55 & 1 == 1
}

/// What a legal descriptor says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a field of the descriptor"
)]
pub struct Context {
    /// What tags cached translations that are not global.
    pub asid: u16,
    /// The lower and the upper half, where they are enabled.
    pub halves: [Option<Half>; 2],
    /// Which top bytes are ignored.
    pub top_bytes: TopBytes,
    /// How wide output addresses are.
    pub output: AddressSize,
    /// What walks mark.
    pub updates: HardwareUpdate,
    /// A clear AF is no fault.
    pub access_flag_ignored: bool,
    /// What can be written is never executed.
    pub write_execute_never: bool,
    /// What users may access, privileged requesters do not read or write.
    pub privileged_access_never: bool,
    /// Faults stall (S).
    pub stalls: bool,
    /// Faults that do not stall are recorded (R).
    pub records: bool,
}

impl Context {
    /// The half that an address belongs to, and the address as it is walked and cached. `None` where neither half has it, or the one
    /// that would is disabled.
    pub fn half_of(&self, iova: Iova) -> Option<(&Half, Iova)> {
        let upper = is_upper(iova);
        let half = self.halves[usize::from(upper)].as_ref()?;
        let address = self.top_bytes.canonical(iova);
        let expected = if upper { u64::MAX } else { 0 };
        let above = (address.get() ^ expected) >> half.input_bits;
        (above == 0).then_some((half, address))
    }
}
