use super::*;

/// A caller's struct of `size` bytes, of which those from `hole` on cannot be read.
struct Client {
    bytes: Vec<u8>,
    hole: usize,
}

impl Client {
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Fault> {
        let start = usize::try_from(offset).unwrap();
        let end = start + out.len();
        if end > self.hole.min(self.bytes.len()) {
            return Err(Fault);
        }
        out.copy_from_slice(&self.bytes[start..end]);
        Ok(())
    }

    /// The rule, byte by byte.
    fn expected(&self, min_size: usize, full_size: usize) -> Result<Vec<u8>, Errno> {
        if self.bytes.len() < min_size {
            return Err(Errno::EINVAL);
        }
        for at in full_size..self.bytes.len() {
            if at >= self.hole {
                return Err(Errno::EFAULT);
            }
            if self.bytes[at] != 0 {
                return Err(Errno::E2BIG);
            }
        }
        let head = self.bytes.len().min(full_size);
        if head > self.hole {
            return Err(Errno::EFAULT);
        }
        let mut out = self.bytes[..head].to_vec();
        out.resize(full_size, 0);
        Ok(out)
    }
}

fn copied(client: &Client, min_size: usize, full_size: usize) -> Result<Vec<u8>, Errno> {
    let mut out = vec![0xee; full_size];
    let size = u32::try_from(client.bytes.len()).unwrap();
    copy_struct(size, min_size, &mut out, |offset, bytes| {
        client.read(offset, bytes)
    })
    .map(|()| out)
}

#[test]
fn every_size_hole_and_stray_byte_around_a_struct_of_12_to_16_bytes() {
    const MIN: usize = 12;
    const FULL: usize = 16;
    for size in 0..40 {
        for hole in 0..=size {
            for stray in FULL..=size.max(FULL) {
                let mut bytes = vec![0; size];
                for (at, byte) in (1..).zip(bytes.iter_mut().take(FULL)) {
                    *byte = at;
                }
                if let Some(byte) = bytes.get_mut(stray) {
                    *byte = 1;
                }
                let client = Client { bytes, hole };
                assert_eq!(
                    copied(&client, MIN, FULL),
                    client.expected(MIN, FULL),
                    "size {size}, hole at {hole}, stray byte at {stray}"
                );
            }
        }
    }
}

#[test]
fn a_huge_zero_tail_is_legal_and_read_in_bounded_pieces() {
    let size = u32::MAX;
    let mut next = 16;
    let mut out = [0; 16];
    copy_struct(size, 16, &mut out, |offset, bytes| {
        assert!(bytes.len() <= CHUNK);
        if offset == 0 {
            bytes.fill(7);
        } else {
            assert_eq!(offset, next);
            next += bytes.len() as u64;
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(next, u64::from(size));
    assert_eq!(out, [7; 16]);
}

#[test]
fn a_stray_byte_at_the_end_of_a_long_tail_is_found_before_the_hole_behind_it() {
    for (stray, hole, expected) in [
        (3 * CHUNK + 5, 3 * CHUNK + 6, Errno::E2BIG),
        (3 * CHUNK + 5, 3 * CHUNK + 5, Errno::EFAULT),
        (3 * CHUNK + 5, 2 * CHUNK, Errno::EFAULT),
    ] {
        let mut bytes = vec![0; 5 * CHUNK];
        bytes[stray] = 1;
        assert_eq!(copied(&Client { bytes, hole }, 8, 8), Err(expected));
    }
}

#[test]
fn the_tail_is_read_before_the_head() {
    let mut offsets = Vec::new();
    copy_struct(9, 8, &mut [0; 8], |offset, _| {
        offsets.push(offset);
        Ok(())
    })
    .unwrap();
    assert_eq!(offsets, [8, 0]);
}

#[test]
fn an_unreadable_size_is_a_fault() {
    assert_eq!(read_size(|_, _| Err(Fault)), Err(Errno::EFAULT));
    let stored = |_, bytes: &mut [u8]| {
        bytes.copy_from_slice(&[0x28, 1, 0, 0]);
        Ok(())
    };
    assert_eq!(read_size(stored), Ok(0x128));
}
