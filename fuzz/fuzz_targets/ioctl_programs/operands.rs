//! Operands that meet each other: the objects, descriptors and mappings that there are, and addresses and lengths around the
//! interesting ones. Numbers that mean nothing are among them, but few.

use arbitrary::{Arbitrary, Result, Unstructured};
use swiommu_abi::mock::{MOCK_APERTURE_LAST, MOCK_APERTURE_START};

pub const PAGE: u64 = 4096;

/// Pages of the memory that each process has to map.
pub const DATA_PAGES: u64 = 16;

/// Bytes of the memory that looks like one huge page.
pub const HUGE: u64 = 2 << 20;

/// A number below `N`.
#[derive(Clone, Copy, Debug)]
pub struct Below<const N: u32>(pub u32);

impl<'a, const N: u32> Arbitrary<'a> for Below<N> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(u32::from(u8::arbitrary(u)?) % N))
    }
}

/// One of those that there are, or a number that need not be.
#[derive(Clone, Copy, Debug)]
pub enum Pick {
    Nth(usize),
    Number(u32),
}

impl<'a> Arbitrary<'a> for Pick {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u8::arbitrary(u)? {
            number @ 240.. => Self::Number(u32::from(number - 240)),
            nth => Self::Nth(nth.into()),
        })
    }
}

/// What an object should be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Any,
    Ioas,
    Device,
    Paging,
    Nested,
    /// What a device can be attached to.
    Attachable,
    /// What a page table can be made on.
    Parent,
    /// What a guest invalidates.
    Guests,
    Fault,
    Viommu,
    Selftest,
}

impl Kind {
    pub fn admits(self, type_name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Ioas => type_name == "IOAS",
            Self::Device => type_name == "DEVICE",
            Self::Paging => type_name == "HWPT_PAGING",
            Self::Nested => type_name == "HWPT_NESTED",
            Self::Attachable => ["IOAS", "HWPT_PAGING", "HWPT_NESTED"].contains(&type_name),
            Self::Parent => ["IOAS", "HWPT_PAGING", "VIOMMU"].contains(&type_name),
            Self::Guests => ["HWPT_NESTED", "VIOMMU"].contains(&type_name),
            Self::Fault => type_name == "FAULT",
            Self::Viommu => type_name == "VIOMMU",
            Self::Selftest => type_name == "SELFTEST",
        }
    }
}

/// Bytes within a page: mostly none, or what a mock page is.
#[derive(Clone, Copy, Debug)]
pub struct Within(pub u64);

impl<'a> Arbitrary<'a> for Within {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(match u8::arbitrary(u)? {
            0..=199 => 0,
            200..=229 => 0x800,
            230..=237 => 0x400,
            238..=243 => 1,
            244..=249 => 0xfff,
            250.. => 0x801,
        }))
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Len(pub u64);

impl<'a> Arbitrary<'a> for Len {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(match u8::arbitrary(u)? {
            byte @ 0..=199 => (u64::from(byte) % DATA_PAGES + 1) * PAGE,
            byte @ 200..=229 => u64::from(byte % 4) * PAGE + Within::arbitrary(u)?.0,
            byte @ 230..=245 => HUGE >> (byte % 3),
            246.. => u64::arbitrary(u)?,
        }))
    }
}

/// An IOVA.
#[derive(Clone, Copy, Debug)]
pub struct At(pub u64);

impl<'a> Arbitrary<'a> for At {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let byte = u8::arbitrary(u)?;
        let page = u64::from(byte % 32) * PAGE;
        let from = match byte {
            0..=63 => 0,
            64..=191 => MOCK_APERTURE_START,
            192..=223 => return Ok(Self(MOCK_APERTURE_START + u64::from(byte % 4) * HUGE)),
            224..=233 => MOCK_APERTURE_LAST - 2 * PAGE + 1,
            234..=243 => 0_u64.wrapping_sub(3 * PAGE),
            244.. => return u64::arbitrary(u).map(Self),
        };
        Ok(Self(
            from.wrapping_add(page)
                .wrapping_add(Within::arbitrary(u)?.0),
        ))
    }
}

/// A range of IOVAs of an IOAS: something that was mapped, a part of it, more than it, or any.
#[derive(Clone, Copy, Debug)]
pub enum Span {
    Mapped {
        nth: usize,
        skip: u64,
        len: Option<u64>,
    },
    Any(u64, u64),
}

impl Span {
    /// Whether it is all that was mapped by a call.
    pub fn is_whole(self) -> bool {
        matches!(
            self,
            Self::Mapped {
                skip: 0,
                len: None,
                ..
            }
        )
    }
}

impl<'a> Arbitrary<'a> for Span {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u8::arbitrary(u)? {
            byte @ 0..=127 => Self::Mapped {
                nth: byte.into(),
                skip: 0,
                len: None,
            },
            byte @ 128..=207 => Self::Mapped {
                nth: byte.into(),
                skip: u64::from(Below::<4>::arbitrary(u)?.0) * PAGE + Within::arbitrary(u)?.0,
                len: Option::<Len>::arbitrary(u)?.map(|len| len.0),
            },
            208.. => Self::Any(At::arbitrary(u)?.0, Len::arbitrary(u)?.0),
        })
    }
}

/// A place in the memory of a process, which is where all processes have some.
#[derive(Clone, Copy, Debug)]
pub enum Memory {
    Data { page: u64, within: u64 },
    Huge { page: u64 },
    At(u64),
}

impl<'a> Arbitrary<'a> for Memory {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u8::arbitrary(u)? {
            byte @ 0..=207 => Self::Data {
                page: u64::from(byte) % (DATA_PAGES + 1),
                within: Within::arbitrary(u)?.0,
            },
            byte @ 208..=239 => Self::Huge {
                page: u64::from(byte % 4) * 170,
            },
            240..=247 => Self::At(0),
            248.. => Self::At(u64::arbitrary(u)?),
        })
    }
}
