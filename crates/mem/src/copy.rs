//! Copies between our memory and memory that others write at any time.

#![expect(
    unsafe_code,
    reason = "copies from and to memory that Rust knows nothing of"
)]

/// Copies shared memory into ours. Powers of two up to 8 bytes at their natural alignment are read at once; of more, what others write
/// meanwhile is seen in part or not at all, as the processor likes.
///
/// # Safety
/// The `into.len()` bytes from `from` are mapped and readable, and Rust holds no reference to them.
#[inline]
pub(crate) unsafe fn copy_out(from: *const u8, into: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if into.len() >= x86_64::LONG {
        // SAFETY: by the caller.
        return unsafe { x86_64::copy_out(from, into) };
    }
    // SAFETY: by the caller.
    unsafe { words_out(from, into) };
}

/// Copies our memory into shared memory. Each byte is written once; powers of two up to 8 bytes at their natural alignment at once.
///
/// # Safety
/// The `from.len()` bytes from `to` are mapped and writable, and Rust holds no reference to them.
#[inline]
pub(crate) unsafe fn copy_in(to: *mut u8, from: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    if from.len() >= x86_64::LONG {
        // SAFETY: by the caller.
        return unsafe { x86_64::copy_in(to, from) };
    }
    // SAFETY: by the caller.
    unsafe { words_in(to, from) };
}

/// Copies out in words of 8 bytes and, where they do not fit, in smaller ones; returns where they end.
///
/// # Safety
/// As for [`copy_out`].
#[expect(
    clippy::cast_ptr_alignment,
    reason = "the words start at an aligned address"
)]
#[inline]
unsafe fn words_out(from: *const u8, into: &mut [u8]) -> *const u8 {
    if into.is_empty() {
        return from;
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
        read_bytes(from.cast(), tail)
    }
}

/// Copies in in words of 8 bytes and, where they do not fit, in smaller ones; returns where they end.
///
/// # Safety
/// As for [`copy_in`].
#[expect(
    clippy::cast_ptr_alignment,
    reason = "the words start at an aligned address"
)]
#[inline]
unsafe fn words_in(to: *mut u8, from: &[u8]) -> *mut u8 {
    if from.is_empty() {
        return to;
    }
    let (head, rest) = from.split_at(to.align_offset(8).min(from.len()));
    let (words, tail) = rest.as_chunks();
    // SAFETY: as in `words_out`, for writing.
    unsafe {
        let to = write_bytes(to, head);
        let mut to = to.cast::<u64>();
        for word in words {
            to.write_volatile(u64::from_ne_bytes(*word));
            to = to.add(1);
        }
        write_bytes(to.cast(), tail)
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
#[inline]
unsafe fn read_bytes(from: *const u8, into: &mut [u8]) -> *const u8 {
    if into.is_empty() {
        return from;
    }
    // SAFETY: as many bytes are readable (caller).
    unsafe { read_some_bytes(from, into) }
}

/// # Safety
/// As for [`read_bytes`].
#[expect(
    clippy::cast_ptr_alignment,
    reason = "`word_len` looks at the alignment"
)]
unsafe fn read_some_bytes(mut from: *const u8, mut into: &mut [u8]) -> *const u8 {
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
#[inline]
unsafe fn write_bytes(to: *mut u8, from: &[u8]) -> *mut u8 {
    if from.is_empty() {
        return to;
    }
    // SAFETY: as many bytes are writable (caller).
    unsafe { write_some_bytes(to, from) }
}

/// # Safety
/// As for [`write_bytes`].
#[expect(
    clippy::cast_ptr_alignment,
    reason = "`word_len` looks at the alignment"
)]
unsafe fn write_some_bytes(mut to: *mut u8, mut from: &[u8]) -> *mut u8 {
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

/// Longer copies: by vectors where the processor has AVX, by string instructions where it has not, or where they are better.
#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use super::{words_in, words_out};

    /// From this length on vectors are faster than words.
    pub(super) const LONG: usize = 64;

    /// Without vectors, string instructions are from this length on.
    const STRING: usize = 256;

    /// A copy so long is worth being aligned where it goes to.
    const WORTH_ALIGNING: usize = 512;

    /// A longer one is faster by string instructions.
    const MOST_BY_VECTORS: usize = 16 << 10;

    const VECTOR: usize = 32;
    /// What a turn of the loop over vectors copies.
    const TURN: usize = 2 * VECTOR;

    fn by_vectors(len: usize) -> bool {
        len <= MOST_BY_VECTORS && is_x86_feature_detected!("avx")
    }

    /// How many bytes are copied by words before vectors are.
    fn head(to: *const u8, len: usize) -> usize {
        if len < WORTH_ALIGNING {
            0
        } else {
            to.align_offset(VECTOR).min(len)
        }
    }

    /// # Safety
    /// As for [`copy_out`](super::copy_out).
    pub(super) unsafe fn copy_out(from: *const u8, into: &mut [u8]) {
        let len = into.len();
        if by_vectors(len) {
            let (head, rest) = into.split_at_mut(head(into.as_ptr(), len));
            let (turns, tail) = rest.split_at_mut(rest.len() / TURN * TURN);
            // SAFETY: head, turns and tail together are as long as what the caller says is readable; the processor has AVX.
            unsafe {
                let from = words_out(from, head);
                copy_turns(from, turns.as_mut_ptr(), turns.len());
                words_out(from.add(turns.len()), tail);
            }
        } else if len >= STRING {
            // SAFETY: `from` is readable (caller) and `into` writable for `len` bytes.
            unsafe { copy_string(from, into.as_mut_ptr(), len) };
        } else {
            // SAFETY: by the caller.
            unsafe { words_out(from, into) };
        }
    }

    /// # Safety
    /// As for [`copy_in`](super::copy_in).
    pub(super) unsafe fn copy_in(to: *mut u8, from: &[u8]) {
        let len = from.len();
        if by_vectors(len) {
            let (head, rest) = from.split_at(head(to, len));
            let (turns, tail) = rest.split_at(rest.len() / TURN * TURN);
            // SAFETY: as in `copy_out`, for writing.
            unsafe {
                let to = words_in(to, head);
                copy_turns(turns.as_ptr(), to, turns.len());
                words_in(to.add(turns.len()), tail);
            }
        } else if len >= STRING {
            // SAFETY: `to` is writable (caller) and `from` readable for `len` bytes.
            unsafe { copy_string(from.as_ptr(), to, len) };
        } else {
            // SAFETY: by the caller.
            unsafe { words_in(to, from) };
        }
    }

    /// # Safety
    /// Both sides are mapped for `len` bytes.
    unsafe fn copy_string(from: *const u8, to: *mut u8, len: usize) {
        // SAFETY: by the caller; the direction flag is clear by the ABI.
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
    /// Both sides are mapped for `len` bytes, a multiple of [`TURN`], and the processor has AVX.
    unsafe fn copy_turns(from: *const u8, to: *mut u8, len: usize) {
        if len == 0 {
            return;
        }
        // SAFETY: the caller says that both sides are mapped for `len` bytes, of which each turn copies `TURN`, until none is left.
        unsafe {
            std::arch::asm!(
                "2:",
                "vmovups ymm0, [{from}]",
                "vmovups ymm1, [{from} + {vector}]",
                "vmovups [{to}], ymm0",
                "vmovups [{to} + {vector}], ymm1",
                "add {from}, {turn}",
                "add {to}, {turn}",
                "sub {len}, {turn}",
                "jnz 2b",
                "vzeroupper",
                from = inout(reg) from => _,
                to = inout(reg) to => _,
                len = inout(reg) len => _,
                vector = const VECTOR,
                turn = const TURN,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                options(nostack),
            );
        }
    }
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
}
