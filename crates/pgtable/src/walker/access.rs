//! What a request wants, and what a table permits.

use core::fmt;

use bitflags::bitflags;

bitflags! {
    /// Kinds of access: what a request wants to do, or all that a table permits.
    ///
    /// A device asks as a user, or as a privileged requester where its requests can say so (PCIe: privileged-mode requested).
    /// Tables that do not tell the two apart permit the same to both.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Access: u8 {
        /// A user reads.
        const USER_READ = 1 << 0;
        /// A user writes.
        const USER_WRITE = 1 << 1;
        /// A user fetches instructions.
        const USER_EXECUTE = 1 << 2;
        /// A privileged requester reads.
        const PRIVILEGED_READ = 1 << 3;
        /// A privileged requester writes.
        const PRIVILEGED_WRITE = 1 << 4;
        /// A privileged requester fetches instructions.
        const PRIVILEGED_EXECUTE = 1 << 5;
    }
}

impl Access {
    /// Everybody reads.
    pub const READ: Self = Self::USER_READ.union(Self::PRIVILEGED_READ);
    /// Everybody writes.
    pub const WRITE: Self = Self::USER_WRITE.union(Self::PRIVILEGED_WRITE);
    /// Everybody fetches instructions.
    pub const EXECUTE: Self = Self::USER_EXECUTE.union(Self::PRIVILEGED_EXECUTE);
    /// A user does everything.
    pub const USER: Self = Self::USER_READ
        .union(Self::USER_WRITE)
        .union(Self::USER_EXECUTE);
    /// A privileged requester does everything.
    pub const PRIVILEGED: Self = Self::PRIVILEGED_READ
        .union(Self::PRIVILEGED_WRITE)
        .union(Self::PRIVILEGED_EXECUTE);

    /// Whether somebody writes, so that a walk has to mark the leaf as dirty.
    #[inline]
    pub const fn writes(self) -> bool {
        self.intersects(Self::WRITE)
    }

    /// These accesses without `others`, unless `keep`.
    #[inline]
    pub(crate) const fn without_unless(self, others: Self, keep: u64) -> Self {
        if keep == 0 {
            self.difference(others)
        } else {
            self
        }
    }
}

impl fmt::Display for Access {
    /// The user's letters, then the privileged requester's: `rwx/rwx`, `r--/rw-` …
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (flag, letter) in Self::all().iter().zip("rwxrwx".chars()) {
            if flag == Self::PRIVILEGED_READ {
                f.write_str("/")?;
            }
            write!(f, "{}", if self.contains(flag) { letter } else { '-' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use super::Access;

    #[test]
    fn each_access_has_a_letter() {
        assert_eq!(Access::all().to_string(), "rwx/rwx");
        assert_eq!(Access::empty().to_string(), "---/---");
        let some = Access::USER_READ | Access::PRIVILEGED_WRITE | Access::PRIVILEGED_READ;
        assert_eq!(some.to_string(), "r--/rw-");
    }

    #[test]
    fn a_write_by_either_is_a_write() {
        assert!(Access::USER_WRITE.writes() && Access::PRIVILEGED_WRITE.writes());
        assert!(!(Access::READ | Access::EXECUTE).writes());
    }
}
