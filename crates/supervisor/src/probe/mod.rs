//! What the host offers.

use std::fs;

/// The kernel's major and minor version; zeros when it has an unusual name.
pub(crate) fn kernel_release() -> (u32, u32) {
    let name = rustix::system::uname();
    let mut numbers = name
        .release()
        .to_str()
        .unwrap_or_default()
        .split(|character: char| !character.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The kernel's release, as `uname -r` prints it.
pub(crate) fn kernel_release_name() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// A numeric setting of `/proc/sys`.
pub(crate) fn sysctl(name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
