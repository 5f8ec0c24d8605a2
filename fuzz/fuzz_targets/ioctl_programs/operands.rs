//! Operands that meet each other: small numbers of objects and descriptors, addresses and lengths around the interesting ones.

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

/// The number of an object.
pub type Id = Below<12>;

/// The number of a descriptor.
pub type Fd = Below<10>;

/// Bytes within a page: mostly none, or what a mock page is.
#[derive(Clone, Copy, Debug)]
pub struct Within(pub u64);

impl<'a> Arbitrary<'a> for Within {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        const USUAL: [u64; 12] = [0, 0, 0, 0, 0, 0, 0x800, 0x800, 0x400, 1, 0xfff, 0x801];
        Ok(Self(USUAL[usize::from(u8::arbitrary(u)?) % USUAL.len()]))
    }
}

/// A number of bytes to map.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Len {
    Pages(Below<17>),
    Odd(Below<4>, Within),
    Huge(Below<3>),
    Any(u64),
}

impl Len {
    pub fn get(self) -> u64 {
        match self {
            Self::Pages(pages) => u64::from(pages.0) * PAGE,
            Self::Odd(pages, within) => u64::from(pages.0) * PAGE + within.0,
            Self::Huge(parts) => HUGE >> parts.0,
            Self::Any(len) => len,
        }
    }
}

/// An IOVA.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum At {
    Low(Below<24>, Within),
    Aperture(Below<40>, Within),
    ApertureHuge(Below<4>),
    ApertureEnd(Below<4>, Within),
    Top(Below<4>, Within),
    Any(u64),
}

impl At {
    pub fn get(self) -> u64 {
        let paged = |from: u64, pages: u32, within: Within| {
            from.wrapping_add(u64::from(pages) * PAGE + within.0)
        };
        match self {
            Self::Low(pages, within) => paged(0, pages.0, within),
            Self::Aperture(pages, within) => paged(MOCK_APERTURE_START, pages.0, within),
            Self::ApertureHuge(n) => MOCK_APERTURE_START + u64::from(n.0) * HUGE,
            Self::ApertureEnd(pages, within) => paged(MOCK_APERTURE_LAST - 2 * PAGE + 1, pages.0, within),
            Self::Top(pages, within) => paged(0_u64.wrapping_sub(3 * PAGE), pages.0, within),
            Self::Any(at) => at,
        }
    }
}

/// A place in the memory of a process, which is where all processes have some.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Memory {
    Data(Below<18>, Within),
    Huge(Below<4>, Within),
    Null,
    Any(u64),
}
