//! Changing the process that pages belong to.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;

use super::{Pages, PinError, State};
use crate::{Accounting, AddressSpace};

/// Moves ownership and charges of all `pages` to `owner` (`IOMMU_IOAS_CHANGE_PROCESS`), or changes nothing.
///
/// The new owner is charged before the old ones are given their charges back, as a sum for each accounting mode. An object
/// may occur several times.
///
/// # Errors
/// [`PinError::OverLimit`], [`PinError::OwnerGone`].
pub fn change_owner(pages: &[&Pages], owner: &Arc<dyn AddressSpace>) -> Result<(), PinError> {
    let mut pages = pages.to_vec();
    // Locks of the same rank are taken in the order of their addresses.
    pages.sort_by_key(|pages| ptr::from_ref(*pages));
    pages.dedup_by_key(|pages| ptr::from_ref(*pages));
    let mut locked: Vec<(&Pages, MutexGuard<'_, State>)> = pages
        .into_iter()
        .map(|pages| (pages, pages.state.lock()))
        .collect();

    let user = owner.user();
    let is_charged_anew = |pages: &Pages, state: &State| {
        let same_mm = state.owner.id() == owner.id();
        !same_mm || pages.accounting == Accounting::User && pages.user() != user
    };
    let accounts = owner.memory().accounts();
    let mut charged = Vec::new();
    for accounting in [Accounting::None, Accounting::User, Accounting::Mm] {
        let moving = locked.iter().filter(|(pages, state)| {
            pages.accounting == accounting && is_charged_anew(pages, state)
        });
        let count = moving.map(|(pages, state)| pages.pinned_of(state)).sum();
        if count == 0 {
            continue;
        }
        if let Err(error) = accounts.charge(&**owner, user, accounting, count) {
            for (accounting, count) in charged {
                accounts.uncharge(owner.locked(), user, accounting, count);
            }
            return Err(error);
        }
        charged.push((accounting, count));
    }
    for (pages, state) in &mut locked {
        if is_charged_anew(pages, state) {
            let count = pages.pinned_of(state);
            accounts.uncharge(state.owner.locked(), pages.user(), pages.accounting, count);
        }
        state.owner = owner.clone();
        pages.user.store(user.0, Ordering::Relaxed);
    }
    Ok(())
}
