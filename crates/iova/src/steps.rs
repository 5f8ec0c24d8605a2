//! A count of the steps that the tree takes: tests assert bounds on it, other builds do not have it.

#[cfg(test)]
std::thread_local! {
    static STEPS: core::cell::Cell<usize> = const { core::cell::Cell::new(0) };
}

/// Counts `steps` visits of nodes or looks at gaps or numbers of rows.
#[cfg_attr(not(test), expect(unused_variables, reason = "only tests count"))]
#[inline]
pub(crate) fn add(steps: usize) {
    #[cfg(test)]
    STEPS.set(STEPS.get() + steps);
}

/// How many steps `work` takes on this thread.
#[cfg(test)]
pub(crate) fn of<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = STEPS.get();
    let result = work();
    (STEPS.get() - before, result)
}
