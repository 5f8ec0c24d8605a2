mod against_model;
mod bounds;
mod errors;
mod examples;
mod model;

use swiommu_addr::{Iova, IovaRange, PageSize};

use crate::{Origin, Request, Space};

type Numbered = Space<u32, u8>;

fn range(start: u64, last: u64) -> IovaRange {
    IovaRange::new(Iova::new(start), Iova::new(last)).unwrap()
}

/// A request with 2 MiB huge pages.
fn request(origin: u64, length: u64, alignment: u64) -> Request {
    Request {
        origin: Origin::offset(origin),
        length,
        alignment: PageSize::from_bytes(alignment).unwrap(),
        huge_page: PageSize::SIZE_2M,
    }
}

/// A few numbers that look random, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 32) % bound
    }
}
