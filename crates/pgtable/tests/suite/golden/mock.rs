//! The format of the kernel's mock IOMMU: section A.1.1.

use swiommu_addr::{Iova, PageSize, PageSizes};
use swiommu_pgtable::fmt::MockAmdv1;
use swiommu_pgtable::{Format, HeapTables, PageTable, Prot};

use super::*;

#[test]
fn mock_leaves_of_every_kind() {
    let to_second = (ROOT, 0, 0, 0x6000_0002_0000_2401);
    let to_third = (SECOND, 0, 0, 0x6000_0002_0000_4201);
    check(
        "A.1.1",
        MockAmdv1::mock(),
        (0x1000, 0x7_f000_0800, 2 * K, Prot::RW),
        &[to_second, to_third, (THIRD, 2, 2, 0x6000_000f_e000_1001)],
    );
    check(
        "A.1.1",
        MockAmdv1::mock(),
        (0x2000, 0x4000_2000, 4 * K, Prot::RW),
        &[to_second, to_third, (THIRD, 4, 5, 0x6000_0000_8000_4e01)],
    );
    check(
        "A.1.1",
        MockAmdv1::mock(),
        (0x1_0000, 0x4001_0000, 64 * K, Prot::READ),
        &[
            to_second,
            to_third,
            (THIRD, 0x20, 0x3f, 0x2000_0000_8002_fe01),
        ],
    );
    check(
        "A.1.1",
        MockAmdv1::mock(),
        (0x10_0000, 0x4010_0000, M, Prot::RW),
        &[to_second, (SECOND, 1, 1, 0x6000_0000_8020_0001)],
    );
    check(
        "A.1.1",
        MockAmdv1::mock(),
        (0x20_0000, 0x4020_0000, 2 * M, Prot::RW),
        &[to_second, (SECOND, 2, 3, 0x6000_0000_805f_fe01)],
    );
}

#[test]
fn mock_geometry_is_that_of_the_selftest() {
    let table = PageTable::new(MockAmdv1::mock(), HeapTables::new()).unwrap();
    assert_eq!(table.page_sizes().bitmap(), 0x1f_ffff_f800);
    assert_eq!(table.aperture().last(), Iova::new((1 << 38) - 1));
    assert_eq!(table.format().output_bits(), 51);
    assert_eq!(MockAmdv1::GRANULE, PageSize::SIZE_2K);
    let huge = PageSizes::NONE
        .with(PageSize::SIZE_4K)
        .with(PageSize::from_log2(20));
    let table = table.with_page_sizes(huge);
    assert_eq!(table.page_sizes(), huge);
}
