//! Who pays for pinned memory, and how much they may pin.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use swiommu_injection::{Step, step};

use crate::{AddressSpace, Locked, PAGE, PinError, Uid};

/// How the pages of a pages object are charged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Accounting {
    /// Not at all: the mapping thread had `CAP_IPC_LOCK`.
    None,
    /// To the real user of the mapping process, for all of the user's processes together.
    User,
    /// To the mapping process' `mm` (`VmLck`).
    Mm,
}

/// What happens when a charge passes `RLIMIT_MEMLOCK`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum MemlockPolicy {
    /// The pin fails with `ENOMEM`, as on a real host.
    #[default]
    Enforce,
    /// The pin succeeds, and the log says which limit a real host needs.
    Report,
}

/// The pages charged to each user of the machine, and the policy about limits.
#[derive(Debug)]
pub struct Accounts {
    policy: MemlockPolicy,
    /// Pages charged to the first user seen, who mostly is the only one.
    first: OnceLock<(Uid, AtomicU64)>,
    /// Pages charged to each of the others ever seen.
    others: RwLock<BTreeMap<Uid, AtomicU64>>,
    /// Pages: the greatest total that any charge led to.
    high_water: AtomicU64,
    /// Pages: what the log last said that a host needs.
    reported: AtomicU64,
}

impl Accounts {
    pub(crate) fn new(policy: MemlockPolicy) -> Self {
        Self {
            policy,
            first: OnceLock::new(),
            others: RwLock::default(),
            high_water: AtomicU64::new(0),
            reported: AtomicU64::new(0),
        }
    }

    /// Bytes charged to `user` now, in [`Accounting::User`] mode.
    pub fn charged(&self, user: Uid) -> u64 {
        self.with_user(user, |charged| charged.load(Ordering::Relaxed)) * PAGE.bytes()
    }

    /// The largest `RLIMIT_MEMLOCK`, in bytes, that any charge so far needed in order to succeed; 0 when nothing was charged.
    pub fn high_water(&self) -> u64 {
        self.high_water.load(Ordering::Relaxed) * PAGE.bytes()
    }

    /// What happens when a charge passes the limit.
    pub fn policy(&self) -> MemlockPolicy {
        self.policy
    }

    /// Charges `pages` pinned by `owner`, and counts them in its `VmPin`.
    pub(crate) fn charge(
        &self,
        owner: &dyn AddressSpace,
        user: Uid,
        accounting: Accounting,
        pages: u64,
    ) -> Result<(), PinError> {
        step(Step::Charge)?;
        match accounting {
            Accounting::None => {}
            Accounting::User => self.with_user(user, |charged| {
                let total = charged.fetch_add(pages, Ordering::Relaxed) + pages;
                self.admit(total, owner).inspect_err(|_| {
                    charged.fetch_sub(pages, Ordering::Relaxed);
                })
            })?,
            Accounting::Mm => {
                if !owner.is_alive() {
                    return Err(PinError::OwnerGone);
                }
                let total = owner.locked().add_locked(signed(pages));
                self.admit(total, owner).inspect_err(|_| {
                    owner.locked().add_locked(-signed(pages));
                })?;
            }
        }
        owner.locked().add_pinned(signed(pages));
        Ok(())
    }

    /// Takes a charge back. Never fails: not for an owner that is gone either.
    pub(crate) fn uncharge(&self, owner: &Locked, user: Uid, accounting: Accounting, pages: u64) {
        match accounting {
            Accounting::None => {}
            Accounting::User => self.with_user(user, |charged| {
                charged.fetch_sub(pages, Ordering::Relaxed);
            }),
            Accounting::Mm => {
                owner.add_locked(-signed(pages));
            }
        }
        owner.add_pinned(-signed(pages));
    }

    /// Whether `total` pages are within the limit of `owner`, or the policy does not care.
    fn admit(&self, total: u64, owner: &dyn AddressSpace) -> Result<(), PinError> {
        let limit = owner.memlock_limit().unwrap_or(u64::MAX);
        let over = total > limit / PAGE.bytes();
        if over && self.policy == MemlockPolicy::Enforce {
            return Err(PinError::OverLimit {
                needed: total.saturating_mul(PAGE.bytes()),
                limit,
            });
        }
        if total > self.high_water.load(Ordering::Relaxed) {
            self.high_water.fetch_max(total, Ordering::Relaxed);
            if over {
                self.report(total, limit);
            }
        }
        Ok(())
    }

    /// Says what a real host needs: at the first charge over the limit, and whenever the need has doubled since.
    fn report(&self, total: u64, limit: u64) {
        let worth_saying = |said: u64| (total >= said.saturating_mul(2)).then_some(total);
        let said = self
            .reported
            .try_update(Ordering::Relaxed, Ordering::Relaxed, worth_saying);
        if said.is_ok() {
            tracing::warn!(
                needed = total.saturating_mul(PAGE.bytes()),
                limit,
                "a real host needs RLIMIT_MEMLOCK of at least the bytes needed"
            );
        }
    }

    fn with_user<T>(&self, user: Uid, act: impl FnOnce(&AtomicU64) -> T) -> T {
        let (first, charged) = self.first.get_or_init(|| (user, AtomicU64::new(0)));
        if *first == user {
            return act(charged);
        }
        if let Some(charged) = self.others.read().get(&user) {
            return act(charged);
        }
        act(self.others.write().entry(user).or_default())
    }
}

/// A count of pages as the counters of [`Locked`] take it: memory is smaller than 2^63 pages.
fn signed(pages: u64) -> i64 {
    i64::try_from(pages).unwrap_or(i64::MAX)
}
