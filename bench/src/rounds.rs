//! Interleaved rounds: on a machine whose speed changes by the second, only figures of the same round compare.

/// Runs all contenders once in every round, one after the other (A-B-A-B), and returns their results by contender. `run` is
/// given the round and the contender.
pub(crate) fn interleaved<T>(
    rounds: usize,
    contenders: usize,
    mut run: impl FnMut(usize, usize) -> T,
) -> Vec<Vec<T>> {
    let mut results: Vec<Vec<T>> = (0..contenders).map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for (contender, results) in results.iter_mut().enumerate() {
            results.push(run(round, contender));
        }
    }
    results
}

/// The median; 0 of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The median of what `ours` is divided by `peer`, round by round.
pub(crate) fn median_ratio(ours: &[f64], peer: &[f64]) -> f64 {
    median(ours.iter().zip(peer).map(|(ours, peer)| ours / peer))
}

/// The median of what `ours` is more than `peer`, round by round.
pub(crate) fn median_excess(ours: &[f64], peer: &[f64]) -> f64 {
    median(ours.iter().zip(peer).map(|(ours, peer)| ours - peer))
}
