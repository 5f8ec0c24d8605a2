//! What `stat(2)` shows of a served file.

/// The number of a character device (`st_rdev`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DeviceNumber {
    /// The driver.
    pub major: u32,
    /// The device of that driver.
    pub minor: u32,
}

/// The kind and rights of a served file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stat {
    /// A character device with its permission bits, such as `0o660`.
    Device {
        /// Its number.
        number: DeviceNumber,
        /// Its permission bits.
        mode: u32,
    },
    /// A regular file of this many bytes, with its permission bits.
    Regular {
        /// Its size in bytes.
        size: u64,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory, with its permission bits.
    Directory {
        /// Its permission bits.
        mode: u32,
    },
    /// An anonymous inode: an event queue, an access.
    Anonymous,
}
