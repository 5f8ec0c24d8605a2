//! How much memory this process has.

use anyhow::Context;

/// Resident bytes of this process.
pub(crate) fn resident() -> anyhow::Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm
        .split(' ')
        .nth(1)
        .context("statm has no second field")?;
    Ok(pages.parse::<u64>()? * 0x1000)
}
