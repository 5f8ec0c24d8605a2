//! Changing the process that pages belong to.

use std::sync::Arc;

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
pub fn change_owner(pages: &[Arc<Pages>], owner: &Arc<dyn AddressSpace>) -> Result<(), PinError> {
    let mut pages: Vec<&Arc<Pages>> = pages.iter().collect();
    // Locks of the same rank are taken in the order of their addresses.
    pages.sort_by_key(|pages| Arc::as_ptr(pages));
    pages.dedup_by_key(|pages| Arc::as_ptr(pages));
    let mut locked: Vec<(&Pages, MutexGuard<'_, State>)> = pages
        .into_iter()
        .map(|pages| (&**pages, pages.state.lock()))
        .collect();

    let user = owner.user();
    let is_charged_anew = |state: &State, accounting| {
        let same_mm = state.owner.id() == owner.id();
        !same_mm || accounting == Accounting::User && state.user != user
    };
    let Some(accounts) = locked.first().map(|(pages, _)| pages.memory.accounts()) else {
        return Ok(());
    };
    let mut charged = Vec::new();
    for accounting in [Accounting::None, Accounting::User, Accounting::Mm] {
        let moving = locked.iter().filter(|(pages, state)| {
            pages.accounting == accounting && is_charged_anew(state, accounting)
        });
        let count = moving.map(|(_, state)| state.pinned()).sum();
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
        if is_charged_anew(state, pages.accounting) {
            let count = state.pinned();
            accounts.uncharge(state.owner.locked(), state.user, pages.accounting, count);
        }
        state.owner = owner.clone();
        state.user = user;
    }
    Ok(())
}
