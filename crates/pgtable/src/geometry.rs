//! Which address bits each level resolves.

use swiommu_addr::{Iova, IovaRange, PageSize, PageSizes};

use crate::{Format, UpperBits};

/// The size of a table below the root, in entries.
pub(crate) const fn table_entries<F: Format>() -> usize {
    1 << F::INDEX_BITS
}

/// The memory that a table below the root takes.
pub(crate) const fn table_size<F: Format>() -> PageSize {
    PageSize::from_log2(F::INDEX_BITS + 3)
}

/// The size of a root in entries, for a table of this many levels: as much as other tables have, or more.
pub(crate) fn root_entries<F: Format>(format: &F, levels: u8) -> usize {
    let index_bits = u32::from(format.input_bits(levels)) - item_log2::<F>(levels - 1);
    1 << index_bits.max(u32::from(F::INDEX_BITS))
}

/// The memory that a root takes.
pub(crate) const fn root_size(entries: usize) -> PageSize {
    #[expect(clippy::cast_possible_truncation, reason = "fewer than 64 bits")]
    PageSize::from_log2(entries.ilog2() as u8 + 3)
}

/// The bits of an IOVA that the walk resolves once the root has grown as far as it can.
pub(crate) fn input_mask<F: Format>(format: &F) -> u64 {
    u64::MAX >> (64 - format.input_bits(*format.levels().end()))
}

/// The address that a walk of a table of this many levels resolves for `iova`, or `None` where it has no such IOVA.
#[inline]
pub(crate) fn input_of<F: Format>(format: &F, levels: u8, iova: Iova) -> Option<u64> {
    let unresolved = 64 - format.input_bits(levels);
    let input = iova.get() << unresolved >> unresolved;
    let expected = match format.upper_bits() {
        UpperBits::Zero => input,
        #[expect(clippy::cast_possible_wrap, reason = "the shift extends the sign")]
        UpperBits::SignExtended => {
            ((iova.get() << unresolved) as i64 >> unresolved).cast_unsigned()
        }
    };
    (iova.get() == expected).then_some(input)
}

/// The IOVA of an input address in a format with sign extension.
pub(crate) fn sign_extend<F: Format>(format: &F, input: u64) -> Iova {
    let mask = input_mask(format);
    let negative = input > mask >> 1;
    Iova::new(if negative { input | !mask } else { input })
}

/// The range that holds every IOVA of the format.
pub(crate) fn input_range<F: Format>(format: &F) -> IovaRange {
    let last = match format.upper_bits() {
        UpperBits::Zero => input_mask(format),
        UpperBits::SignExtended => u64::MAX,
    };
    IovaRange::new(Iova::new(0), Iova::new(last)).unwrap_or(IovaRange::full())
}

/// What one entry at `level` covers is 2^n bytes.
#[inline]
pub(crate) const fn item_log2<F: Format>(level: u8) -> u32 {
    F::GRANULE.log2() as u32 + F::INDEX_BITS as u32 * level as u32
}

/// What a table at `level`, below the root, translates is 2^n bytes.
#[inline]
pub(crate) const fn table_log2<F: Format>(level: u8) -> u8 {
    F::GRANULE.log2() + F::INDEX_BITS * (level + 1)
}

/// The level whose tables, below the root, translate `span`.
#[inline]
pub(crate) fn table_level<F: Format>(span: PageSize) -> Option<u8> {
    let above = span.log2().checked_sub(F::GRANULE.log2())?;
    (above % F::INDEX_BITS == 0).then(|| (above / F::INDEX_BITS).checked_sub(1))?
}

/// Which entry of a table at `level`, below the root, is for an input address.
#[inline]
pub(crate) const fn index_in_table<F: Format>(input: u64, level: u8) -> u64 {
    input >> item_log2::<F>(level) & (table_entries::<F>() as u64 - 1)
}

/// The address bits below an entry at `level`.
#[inline]
pub(crate) const fn item_mask<F: Format>(level: u8) -> u64 {
    (1 << item_log2::<F>(level)) - 1
}

/// The level whose tables hold leaves of this size.
#[inline]
pub(crate) const fn leaf_level<F: Format>(size: PageSize) -> u8 {
    (size.log2() - F::GRANULE.log2()) / F::INDEX_BITS
}

/// The least number of levels that resolves `last`, or `None` when even the largest root does not.
pub(crate) fn levels_for<F: Format>(format: &F, last: u64) -> Option<u8> {
    format.levels().find(|&levels| {
        last.checked_shr(u32::from(format.input_bits(levels)))
            .unwrap_or(0)
            == 0
    })
}

/// The leaf sizes that a table of this format offers: one that covers half of the input addresses or more is left out.
pub(crate) fn offered_sizes<F: Format>(format: &F) -> PageSizes {
    let half = format.input_bits(*format.levels().end()) - 1;
    let smaller = PageSizes::from_bitmap((1 << half) - 1);
    format.leaf_sizes().intersection(smaller)
}
