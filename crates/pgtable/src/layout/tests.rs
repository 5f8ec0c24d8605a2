extern crate std;

use std::vec::Vec;

use swiommu_addr::Pa;

use super::*;

const K: u64 = 1 << 10;
const M: u64 = 1 << 20;

fn range(pa: u64, len: u64) -> PaRange {
    PaRange::from_len(Pa::new(pa), len).unwrap()
}

fn x86() -> PageSizes {
    PageSizes::NONE
        .with(PageSize::SIZE_4K)
        .with(PageSize::SIZE_2M)
        .with(PageSize::SIZE_1G)
}

/// The pieces up to `last`, as (size, count).
fn pieces(sizes: PageSizes, input: u64, ranges: &[PaRange], last: u64) -> Vec<(u64, u64)> {
    let mut layout = Layout::new(sizes, input, ranges).unwrap();
    let mut pieces = Vec::new();
    while layout.input() <= last {
        let piece = layout.piece(layout.size(), last);
        pieces.push((piece.size.bytes(), piece.count));
        layout.skip(piece);
    }
    pieces
}

#[test]
fn sizes_rise_to_the_alignment_and_fall_at_the_end() {
    let run = [range(0x1000_0000 + 2 * M - 4 * K, 4 * M + 12 * K)];
    assert_eq!(
        pieces(x86(), 2 * M - 4 * K, &run, 6 * M + 8 * K - 1),
        [(4 * K, 1), (2 * M, 2), (4 * K, 2)]
    );
    let all = PageSizes::between(PageSize::SIZE_4K, PageSize::SIZE_1G);
    assert_eq!(
        pieces(all, 4 * K, &[range(4 * K, 28 * K)], 32 * K - 1),
        [(4 * K, 1), (8 * K, 1), (16 * K, 1)]
    );
}

#[test]
fn different_offsets_keep_leaves_small() {
    let run = [range(0x1000_1000, 4 * M)];
    assert_eq!(pieces(x86(), 0, &run, 4 * M - 1), [(4 * K, 1024)]);
    // 64 KiB is the largest size in which the two have the same offset.
    let all = PageSizes::between(PageSize::SIZE_4K, PageSize::SIZE_1G);
    assert_eq!(
        pieces(all, 0, &[range(64 * K, 4 * M)], 4 * M - 1),
        [(64 * K, 64)]
    );
}

#[test]
fn a_larger_leaf_that_would_not_fit_is_no_reason_to_stop() {
    // 2 MiB would be possible at 2 MiB, but only 1 MiB is left there.
    let run = [range(0x1000_0000 + M, 2 * M)];
    assert_eq!(pieces(x86(), M, &run, 3 * M - 1), [(4 * K, 512)]);
}

#[test]
fn the_end_of_a_table_cuts_a_piece() {
    let run = [range(0x1000_1000, 8 * M)];
    let layout = Layout::new(x86(), M, &run).unwrap();
    let piece = layout.piece(layout.size(), 2 * M - 1);
    assert_eq!((piece.count, piece.from), (256, From::OneRange));
}

#[test]
fn ranges_of_one_smallest_leaf_are_one_piece() {
    let runs = [
        range(0x5000, 4 * K),
        range(0x1000, 4 * K),
        range(0x9000, 4 * K),
        range(0, 8 * K),
    ];
    let layout = Layout::new(x86(), 0, &runs).unwrap();
    let piece = layout.piece(layout.size(), 20 * K - 1);
    assert_eq!((piece.count, piece.from), (3, From::RangeEach));
    assert_eq!(layout.piece(layout.size(), 8 * K - 1).count, 2);
    assert_eq!(
        pieces(x86(), 0, &runs, 20 * K - 1),
        [(4 * K, 3), (4 * K, 2)]
    );
    let mut layout = layout;
    layout.skip(piece);
    assert_eq!(
        (layout.input(), layout.pa(), layout.size()),
        (12 * K, 0, PageSize::SIZE_4K)
    );
}

#[test]
fn a_set_without_sizes_has_no_layout() {
    assert!(Layout::new(PageSizes::NONE, 0, &[range(0, 4 * K)]).is_none());
}
