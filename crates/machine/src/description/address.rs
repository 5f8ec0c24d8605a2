//! Where a device is on the PCI buses.

use std::fmt;
use std::str::FromStr;

/// The address of a PCI function, of the one segment that there is. Shown as `0000:01:00.0`, where the `0000:` may be left out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PciAddress(u16);

impl PciAddress {
    /// From a requester ID: 8 bits of bus, 5 of device, 3 of function.
    pub const fn new(requester: u16) -> Self {
        Self(requester)
    }

    /// The requester ID.
    pub const fn requester(self) -> u16 {
        self.0
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [bus, slot] = self.0.to_be_bytes();
        write!(f, "0000:{bus:02x}:{:02x}.{}", slot >> 3, slot & 7)
    }
}

/// An address that is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no address BUS:DEVICE.FUNCTION, such as 01:00.0")]
pub struct BadAddress(String);

impl FromStr for PciAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        parse(text).ok_or_else(|| BadAddress(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<PciAddress> {
    let text = text.strip_prefix("0000:").unwrap_or(text);
    let (bus, slot) = text.split_once(':')?;
    let (device, function) = slot.split_once('.')?;
    let (bus, device) = (hex(bus, 2, 0xff)?, hex(device, 2, 0x1f)?);
    let function = hex(function, 1, 7)?;
    Some(PciAddress(bus << 8 | device << 3 | function))
}

/// A number of exactly so many hexadecimal digits.
fn hex(text: &str, digits: usize, most: u16) -> Option<u16> {
    let all_digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u16::from_str_radix(text, 16).ok()?;
    (text.len() == digits && all_digits && number <= most).then_some(number)
}
