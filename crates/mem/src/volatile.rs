//! Memory that others write while we look at it.

#![expect(
    unsafe_code,
    reason = "copies between our memory and memory that other processes write"
)]

use std::fmt;
use std::marker::PhantomData;
#[cfg(target_arch = "x86_64")]
use std::ops::RangeInclusive;

use crate::AtomicInteger;

/// A piece of mapped memory that another process may write at any time: it can be copied from and to, never referenced.
///
/// Power-of-two sizes up to 8 bytes at their natural alignment are read and written at once.
#[derive(Clone, Copy)]
pub struct VolatileSlice<'a> {
    start: *mut u8,
    len: usize,
    memory: PhantomData<&'a [u8]>,
}

// SAFETY: the slice is an address; every access through it is volatile or by the processor's string instructions, whoever else
// accesses the memory, so it does not matter which thread holds it.
unsafe impl Send for VolatileSlice<'_> {}
// SAFETY: as for `Send`: the methods take the slice by value and share no state of Rust's.
unsafe impl Sync for VolatileSlice<'_> {}

impl VolatileSlice<'_> {
    /// # Safety
    /// The `len` bytes from `start` stay mapped, readable and writable for `'a`, and Rust holds no reference to them.
    #[inline]
    pub(crate) unsafe fn new(start: *mut u8, len: usize) -> Self {
        Self {
            start,
            len,
            memory: PhantomData,
        }
    }

    /// The length in bytes.
    #[inline]
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether there is nothing in it.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Where it starts in our own address space, for those who can prove what they do with it.
    pub fn as_ptr(self) -> *mut u8 {
        self.start
    }

    /// The part from `offset` on, at most `len` bytes of it.
    #[inline]
    #[must_use]
    pub fn part(self, offset: usize, len: usize) -> Self {
        let offset = offset.min(self.len);
        Self {
            // SAFETY: `offset` is at most the slice's length, so the result is in the same mapping or one past its end.
            start: unsafe { self.start.add(offset) },
            len: len.min(self.len - offset),
            memory: PhantomData,
        }
    }

    /// Copies out as much as both have from `offset` on; returns how much.
    #[inline]
    pub fn read(self, offset: usize, into: &mut [u8]) -> usize {
        let part = self.part(offset, into.len());
        // SAFETY: the part is mapped and readable (`new`), and `into` is at least as long.
        unsafe { copy_out(part.start, &mut into[..part.len]) };
        part.len
    }

    /// The slice's value, read in one step. `None` for a slice that is not as long as the value, or not aligned to it.
    #[inline]
    pub fn load<T: AtomicInteger>(self) -> Option<T> {
        let fits = self.len == size_of::<T>() && self.start.addr().is_multiple_of(size_of::<T>());
        // SAFETY: the memory is mapped and readable (`new`), as long as the value, and aligned to its size.
        fits.then(|| unsafe { T::load(self.start) })
    }

    /// Replaces the slice's value by `new` if it is `old`, in one step; returns what was there. `None` for a slice that is not as long
    /// as the value, or not aligned to it.
    pub fn compare_exchange<T: AtomicInteger>(self, old: T, new: T) -> Option<T> {
        let fits = self.len == size_of::<T>() && self.start.addr().is_multiple_of(size_of::<T>());
        // SAFETY: the memory is mapped, readable and writable (`new`), as long as the value, and aligned to its size.
        fits.then(|| unsafe { T::compare_exchange(self.start, old, new) })
    }

    /// Copies in as much as both have from `offset` on; returns how much.
    #[inline]
    pub fn write(self, offset: usize, from: &[u8]) -> usize {
        let part = self.part(offset, from.len());
        // SAFETY: the part is mapped and writable (`new`), and `from` is at least as long.
        unsafe { copy_in(part.start, &from[..part.len]) };
        part.len
    }
}

impl fmt::Debug for VolatileSlice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VolatileSlice({:p}, {:#x} bytes)", self.start, self.len)
    }
}

/// From this length on the processor's string instructions are faster than single words.
#[cfg(target_arch = "x86_64")]
const STRING_LEN: usize = 256;

/// Where the processor has AVX, its vectors are faster than words from this length on, and than string instructions up to this one.
#[cfg(target_arch = "x86_64")]
const VECTOR_LENS: RangeInclusive<usize> = 128..=16 << 10;

/// A turn of the loop over vectors.
#[cfg(target_arch = "x86_64")]
const VECTORS: usize = 128;

/// How much of a copy of `len` bytes is for vectors.
#[cfg(target_arch = "x86_64")]
#[inline]
fn vector_len(len: usize) -> usize {
    if VECTOR_LENS.contains(&len) && is_x86_feature_detected!("avx") {
        len - len % VECTORS
    } else {
        0
    }
}

/// Copies shared memory into ours.
///
/// # Safety
/// The `into.len()` bytes from `from` are mapped and readable, and Rust holds no reference to them.
#[inline]
#[expect(
    clippy::cast_ptr_alignment,
    reason = "the words start at an aligned address"
)]
pub(crate) unsafe fn copy_out(from: *const u8, into: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    let (from, into) = {
        let (vectors, rest) = into.split_at_mut(vector_len(into.len()));
        if !vectors.is_empty() {
            // SAFETY: `from` is readable (caller) and `vectors` writable for this length, a multiple of a turn's, and the
            // processor has AVX, both by `vector_len`. What others write meanwhile is seen in part or not at all.
            unsafe { copy_vectors(from, vectors.as_mut_ptr(), vectors.len()) };
        }
        // SAFETY: still in what the caller says is readable, or at its end.
        (unsafe { from.add(vectors.len()) }, rest)
    };
    #[cfg(target_arch = "x86_64")]
    if into.len() >= STRING_LEN {
        // SAFETY: `from` is readable (caller) and `into` writable for `into.len()` bytes; the direction flag is clear by the ABI.
        // What others write meanwhile is seen in part or not at all, as the processor likes.
        unsafe { copy_string(from, into.as_mut_ptr(), into.len()) };
        return;
    }
    let (head, rest) = into.split_at_mut(from.align_offset(8).min(into.len()));
    let (words, tail) = rest.as_chunks_mut();
    // SAFETY: head, words and tail together are as long as what the caller says is readable; the words are aligned by the
    // choice of the head's length.
    unsafe {
        let from = read_bytes(from, head);
        let mut from = from.cast::<u64>();
        for word in words {
            *word = from.read_volatile().to_ne_bytes();
            from = from.add(1);
        }
        read_bytes(from.cast(), tail);
    }
}

/// Copies our memory into shared memory.
///
/// # Safety
/// The `from.len()` bytes from `to` are mapped and writable, and Rust holds no reference to them.
#[inline]
#[expect(
    clippy::cast_ptr_alignment,
    reason = "the words start at an aligned address"
)]
pub(crate) unsafe fn copy_in(to: *mut u8, from: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    let (to, from) = {
        let (vectors, rest) = from.split_at(vector_len(from.len()));
        if !vectors.is_empty() {
            // SAFETY: as in `copy_out`, for writing.
            unsafe { copy_vectors(vectors.as_ptr(), to, vectors.len()) };
        }
        // SAFETY: still in what the caller says is writable, or at its end.
        (unsafe { to.add(vectors.len()) }, rest)
    };
    #[cfg(target_arch = "x86_64")]
    if from.len() >= STRING_LEN {
        // SAFETY: `to` is writable (caller) and `from` readable for `from.len()` bytes; the direction flag is clear by the ABI.
        unsafe { copy_string(from.as_ptr(), to, from.len()) };
        return;
    }
    let (head, rest) = from.split_at(to.align_offset(8).min(from.len()));
    let (words, tail) = rest.as_chunks();
    // SAFETY: as in `copy_out`, for writing.
    unsafe {
        let to = write_bytes(to, head);
        let mut to = to.cast::<u64>();
        for word in words {
            to.write_volatile(u64::from_ne_bytes(*word));
            to = to.add(1);
        }
        write_bytes(to.cast(), tail);
    }
}

#[cfg(target_arch = "x86_64")]
unsafe fn copy_string(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller says that both sides are mapped for `len` bytes.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") len => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
}

/// # Safety
/// Both sides are mapped for `len` bytes, a multiple of [`VECTORS`] and not 0, and the processor has AVX.
#[cfg(target_arch = "x86_64")]
unsafe fn copy_vectors(from: *const u8, to: *mut u8, len: usize) {
    const { assert!(VECTORS == 4 * 32) };
    // SAFETY: the caller says that both sides are mapped for `len` bytes, of which each turn moves as many on; it ends after
    // the last.
    unsafe {
        std::arch::asm!(
            "2:",
            "vmovups ymm0, [{from}]",
            "vmovups ymm1, [{from} + 32]",
            "vmovups ymm2, [{from} + 64]",
            "vmovups ymm3, [{from} + 96]",
            "vmovups [{to}], ymm0",
            "vmovups [{to} + 32], ymm1",
            "vmovups [{to} + 64], ymm2",
            "vmovups [{to} + 96], ymm3",
            "add {from}, 128",
            "add {to}, 128",
            "sub {len}, 128",
            "jnz 2b",
            "vzeroupper",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            len = inout(reg) len => _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            options(nostack),
        );
    }
}

/// The largest naturally aligned word at `address` that is not longer than `limit` bytes.
fn word_len(address: *const u8, limit: usize) -> usize {
    let aligned = 1 << address.addr().trailing_zeros().min(2);
    let fitting = 1 << limit.ilog2().min(2);
    usize::min(aligned, fitting)
}

/// Reads fewer than 8 bytes, in words as large as possible; returns where they end.
///
/// # Safety
/// As many bytes are readable at `from`.
#[expect(
    clippy::cast_ptr_alignment,
    reason = "`word_len` looks at the alignment"
)]
unsafe fn read_bytes(mut from: *const u8, mut into: &mut [u8]) -> *const u8 {
    while !into.is_empty() {
        let (word, rest) = into.split_at_mut(word_len(from, into.len()));
        // SAFETY: the word lies in what is readable, and `from` is aligned to its length.
        unsafe {
            match word.len() {
                4 => word.copy_from_slice(&from.cast::<u32>().read_volatile().to_ne_bytes()),
                2 => word.copy_from_slice(&from.cast::<u16>().read_volatile().to_ne_bytes()),
                _ => word[0] = from.read_volatile(),
            }
            from = from.add(word.len());
        }
        into = rest;
    }
    from
}

/// Writes fewer than 8 bytes, in words as large as possible; returns where they end.
///
/// # Safety
/// As many bytes are writable at `to`.
#[expect(
    clippy::cast_ptr_alignment,
    reason = "`word_len` looks at the alignment"
)]
unsafe fn write_bytes(mut to: *mut u8, mut from: &[u8]) -> *mut u8 {
    while !from.is_empty() {
        let (word, rest) = from.split_at(word_len(to, from.len()));
        // SAFETY: the word lies in what is writable, and `to` is aligned to its length.
        unsafe {
            match *word {
                [a, b, c, d] => to
                    .cast::<u32>()
                    .write_volatile(u32::from_ne_bytes([a, b, c, d])),
                [a, b] => to.cast::<u16>().write_volatile(u16::from_ne_bytes([a, b])),
                _ => to.write_volatile(word[0]),
            }
            to = to.add(word.len());
        }
        from = rest;
    }
    to
}

/// A number of bytes, or an address, as the host counts: hosts have 64 bits.
#[inline]
pub(crate) fn host_len(bytes: u64) -> usize {
    const { assert!(usize::BITS == 64) };
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_every_alignment_and_length() {
        for offset in 0..9 {
            for len in (0..40).chain([
                127,
                128,
                129,
                255,
                256,
                257,
                1000,
                16 << 10,
                (16 << 10) + 257,
            ]) {
                let source: Vec<u8> = (1..=251).cycle().take(len).collect();
                let mut shared = vec![0_u8; offset + len + 9];
                let mut back = vec![0_u8; len];
                let start = shared.as_mut_ptr();
                // SAFETY: `shared` has `offset + len` bytes and is not otherwise used while the pointer is.
                unsafe {
                    copy_in(start.add(offset), &source);
                    copy_out(start.add(offset), &mut back);
                }
                assert_eq!(back, source, "offset {offset}, length {len}");
                assert!(shared[..offset].iter().all(|&byte| byte == 0));
                assert!(shared[offset + len..].iter().all(|&byte| byte == 0));
            }
        }
    }

    #[test]
    fn a_slice_never_reaches_beyond_its_end() {
        let mut memory = [7_u8; 16];
        // SAFETY: the array outlives the slice and is not otherwise used meanwhile.
        let slice = unsafe { VolatileSlice::new(memory.as_mut_ptr(), 12) };
        let mut into = [0; 8];
        assert_eq!(slice.read(8, &mut into), 4);
        assert_eq!(into, [7, 7, 7, 7, 0, 0, 0, 0]);
        assert_eq!(slice.write(10, &[1, 2, 3, 4]), 2);
        assert_eq!(slice.read(13, &mut into), 0);
        assert!(slice.part(12, 5).is_empty());
        assert_eq!(memory[10..], [1, 2, 7, 7, 7, 7]);
    }
}
