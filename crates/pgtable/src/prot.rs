//! What a mapping permits, in the words of the IOMMU API.

use core::fmt;

use bitflags::bitflags;

bitflags! {
    /// Permissions and memory type of a mapping; the bits are those of the kernel's `IOMMU_READ` … `IOMMU_PRIV`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Prot: u32 {
        /// A device may read (`IOMMU_READ`).
        const READ = 1;
        /// A device may write (`IOMMU_WRITE`).
        const WRITE = 2;
        /// Accesses snoop the CPU caches (`IOMMU_CACHE`).
        const CACHE = 4;
        /// Not for instruction fetches (`IOMMU_NOEXEC`).
        const NOEXEC = 8;
        /// The target is a device's registers (`IOMMU_MMIO`).
        const MMIO = 16;
        /// For privileged requests only (`IOMMU_PRIV`).
        const PRIV = 32;
    }
}

impl Prot {
    /// Reading and writing.
    pub const RW: Self = Self::READ.union(Self::WRITE);

    /// What remains of these permissions under an entry above that allows no more than `limit`.
    ///
    /// What permits must be set on both (`READ`, `WRITE`); what forbids is inherited (`NOEXEC`, `PRIV`); the memory type
    /// is the leaf's own.
    #[must_use]
    pub const fn limited_by(self, limit: Self) -> Self {
        let kept = self.intersection(limit.union(Self::RW.complement()));
        kept.union(limit.intersection(Self::NOEXEC.union(Self::PRIV)))
    }
}

impl fmt::Display for Prot {
    /// One character each: `RW----`, `R-C---`, `RW--X-` … in the order of the bits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (flag, letter) in Self::all().iter().zip("RWCNMP".chars()) {
            write!(f, "{}", if self.contains(flag) { letter } else { '-' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use super::Prot;

    #[test]
    fn permissions_shrink_and_prohibitions_grow_along_a_path() {
        let leaf = Prot::RW | Prot::CACHE;
        assert_eq!(leaf.limited_by(Prot::RW), leaf);
        assert_eq!(leaf.limited_by(Prot::READ), Prot::READ | Prot::CACHE);
        assert_eq!(leaf.limited_by(Prot::empty()), Prot::CACHE);
        assert_eq!(
            leaf.limited_by(Prot::RW | Prot::NOEXEC | Prot::PRIV | Prot::MMIO),
            leaf | Prot::NOEXEC | Prot::PRIV
        );
        assert_eq!(Prot::READ.limited_by(Prot::RW), Prot::READ);
    }

    #[test]
    fn each_permission_has_a_letter() {
        assert_eq!(Prot::all().to_string(), "RWCNMP");
        assert_eq!(Prot::empty().to_string(), "------");
        assert_eq!((Prot::WRITE | Prot::MMIO).to_string(), "-W--M-");
    }
}
