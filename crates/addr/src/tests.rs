extern crate std;

use std::format;
use std::vec::Vec;

use super::*;

#[test]
fn a_range_may_end_at_the_last_address() {
    let range = IovaRange::from_len(Iova::new(u64::MAX), 1).unwrap();
    assert_eq!(range.last(), Iova::new(u64::MAX));
    assert_eq!(range.end(), None);
    assert_eq!(range.len(), Some(1));
    assert_eq!(IovaRange::from_len(Iova::new(u64::MAX), 2), None);
    assert_eq!(IovaRange::full().len(), None);
    assert_eq!(IovaRange::full().len_minus_one(), u64::MAX);
}

#[test]
fn an_empty_range_cannot_be_made() {
    assert_eq!(IovaRange::from_len(Iova::new(8), 0), None);
    assert_eq!(IovaRange::new(Iova::new(8), Iova::new(7)), None);
}

#[test]
fn ranges_touching_at_one_address_overlap() {
    let low = PaRange::new(Pa::new(0), Pa::new(10)).unwrap();
    let high = PaRange::new(Pa::new(10), Pa::new(20)).unwrap();
    let apart = PaRange::new(Pa::new(11), Pa::new(20)).unwrap();
    assert_eq!(low.intersection(high), PaRange::from_len(Pa::new(10), 1));
    assert!(low.overlaps(high) && high.overlaps(low));
    assert!(!low.overlaps(apart));
    assert_eq!(low.intersection(apart), None);
}

#[test]
fn aligning_out_covers_whole_pages_up_to_the_end_of_the_space() {
    let range = HvaRange::new(Hva::new(0x1fff), Hva::new(0x2000)).unwrap();
    assert_eq!(
        range.align_out(PageSize::SIZE_4K),
        HvaRange::from_len(Hva::new(0x1000), 0x2000).unwrap()
    );
    let top = HvaRange::new(Hva::new(u64::MAX), Hva::new(u64::MAX)).unwrap();
    assert_eq!(top.align_out(PageSize::SIZE_4K).len(), Some(0x1000));
    assert!(
        top.align_out(PageSize::SIZE_4K)
            .is_aligned(PageSize::SIZE_4K)
    );
    assert!(!top.is_aligned(PageSize::SIZE_4K));
}

#[test]
fn aligning_up_past_the_end_is_refused() {
    assert_eq!(Iova::new(u64::MAX - 1).align_up(PageSize::SIZE_4K), None);
    assert_eq!(
        Iova::new(0x1001).align_up(PageSize::SIZE_4K),
        Some(Iova::new(0x2000))
    );
    assert_eq!(
        Iova::new(0x1000).align_up(PageSize::SIZE_4K),
        Some(Iova::new(0x1000))
    );
}

#[test]
fn the_largest_leaf_divides_both_addresses_and_fits() {
    let sizes = PageSizes::between(PageSize::SIZE_2K, PageSize::from_log2(36));
    let pick = |bits, limit| sizes.largest_dividing(bits, limit).map(PageSize::bytes);
    assert_eq!(pick(0x10000 | 0x4001_0000, 0x10000), Some(0x10000));
    assert_eq!(pick(0x10000 | 0x4001_0000, 0xffff), Some(0x8000));
    assert_eq!(pick(0, u64::MAX), Some(1 << 36));
    assert_eq!(pick(0x400, 0x800), None);
    assert_eq!(pick(0, 0), None);
    let mock_huge = PageSizes::NONE
        .with(PageSize::SIZE_4K)
        .with(PageSize::from_log2(20));
    assert_eq!(
        mock_huge
            .largest_dividing(0, 0x20_0000)
            .map(PageSize::bytes),
        Some(1 << 20)
    );
    assert_eq!(
        mock_huge
            .largest_dividing(0x8000, 0x20_0000)
            .map(PageSize::bytes),
        Some(4096)
    );
}

#[test]
fn page_sizes_are_listed_in_order() {
    let sizes = PageSizes::from_bitmap(0x4020_1000);
    let listed: Vec<_> = sizes.iter().map(|size| format!("{size}")).collect();
    assert_eq!(listed, ["4K", "2M", "1G"]);
    assert_eq!(sizes.smallest(), Some(PageSize::SIZE_4K));
    assert_eq!(PageSizes::NONE.smallest(), None);
}

#[test]
fn only_powers_of_two_are_page_sizes() {
    assert_eq!(PageSize::from_bytes(0), None);
    assert_eq!(PageSize::from_bytes(3000), None);
    assert_eq!(PageSize::from_bytes(1 << 63).map(PageSize::log2), Some(63));
}

#[test]
fn addresses_print_in_hexadecimal() {
    let range = IovaRange::from_len(Iova::new(0x100_0000), 0x1000).unwrap();
    assert_eq!(format!("{range}"), "0x1000000..=0x1000fff");
    assert_eq!(format!("{range:?}"), "Iova(0x1000000)..=0x1000fff");
}
