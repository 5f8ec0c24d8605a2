//! `HWPT_INVALIDATE` (§2.15, §9.5, §9.8).

use swiommu_abi::Errno;

use super::Reference;
use super::objects::Object;
use crate::ground::{Ground, PAGE};
use crate::reply::Reply;
use crate::step::Memory;

const MOCK_REQUESTS: u32 = 0xdead_beef;
const ALL: u32 = 1;

/// The array of requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requests<'a> {
    pub(crate) kind: u32,
    pub(crate) len: u32,
    pub(crate) count: u32,
    /// What the scratch pages start with. The rest is zero.
    pub(crate) words: &'a [u32],
    pub(crate) at: Memory,
}

impl Requests<'_> {
    /// A request, as long as it is.
    fn entry(&self, index: u32) -> Result<Vec<u8>, Errno> {
        let len = u64::from(self.len);
        let start = u64::from(index) * len;
        if self.at != Memory::Scratch || start + len > Ground::SCRATCH {
            return Err(Errno::EFAULT);
        }
        let bytes = self.words.iter().flat_map(|word| word.to_le_bytes());
        let bytes = bytes.chain(std::iter::repeat(0));
        let (start, len) = (
            usize::try_from(start).unwrap_or(0),
            usize::try_from(len).unwrap_or(0),
        );
        Ok(bytes.skip(start).take(len).collect())
    }
}

fn word(bytes: &[u8], n: usize) -> u32 {
    let byte = |at: usize| u32::from(bytes.get(4 * n + at).copied().unwrap_or(0));
    byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24
}

impl Reference {
    /// Answers, also with an error, how many requests were carried out.
    pub(crate) fn invalidate(&mut self, id: u32, requests: Requests<'_>, reserved: u32) -> Reply {
        let mut done = 0;
        let result = self.carry_out(id, requests, reserved, &mut done);
        Reply {
            error: result.err(),
            values: vec![done],
        }
    }

    fn carry_out(
        &mut self,
        id: u32,
        requests: Requests<'_>,
        reserved: u32,
        done: &mut u64,
    ) -> Result<(), Errno> {
        if reserved != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if requests.count != 0 {
            let len = u64::from(requests.len);
            if requests.at == Memory::Null || len == 0 || len > PAGE || requests.count > 1 << 19 {
                return Err(Errno::EINVAL);
            }
        }
        let for_viommu = match self.object(id)? {
            Object::Nested(_) => false,
            Object::Viommu(_) => true,
            _ => return Err(Errno::EINVAL),
        };
        if requests.kind != MOCK_REQUESTS {
            return Err(Errno::EINVAL);
        }
        if for_viommu {
            let mut entries = Vec::new();
            for index in 0..requests.count {
                let entry = requests.entry(index)?;
                if entry.iter().skip(12).any(|byte| *byte != 0) {
                    return Err(Errno::E2BIG);
                }
                entries.push(entry);
            }
            for entry in entries {
                self.clear_cache(id, word(&entry, 0), word(&entry, 1), word(&entry, 2))?;
                *done += 1;
            }
            return Ok(());
        }
        for index in 0..requests.count {
            if requests.len != 8 {
                return Err(Errno::EINVAL);
            }
            let entry = requests.entry(index)?;
            self.clear_iotlb(id, word(&entry, 0), word(&entry, 1))?;
            *done += 1;
        }
        Ok(())
    }

    fn clear_cache(
        &mut self,
        viommu: u32,
        flags: u32,
        device: u32,
        entry: u32,
    ) -> Result<(), Errno> {
        if flags & !ALL != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if entry > 3 {
            return Err(Errno::EINVAL);
        }
        let found = self.objects().find_map(|(_, object)| match object {
            Object::Vdevice(vdevice)
                if vdevice.viommu == viommu && vdevice.virt_id == u64::from(device) =>
            {
                Some(vdevice.device)
            }
            _ => None,
        });
        let device = found.ok_or(Errno::EINVAL)?;
        clear(&mut self.device_mut(device).cache, flags, entry);
        Ok(())
    }

    fn clear_iotlb(&mut self, nested: u32, flags: u32, entry: u32) -> Result<(), Errno> {
        if flags & !ALL != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if entry > 3 {
            return Err(Errno::EINVAL);
        }
        clear(&mut self.nested_mut(nested).iotlb, flags, entry);
        Ok(())
    }
}

fn clear(entries: &mut [u32; 4], flags: u32, entry: u32) {
    for (n, cleared) in (0..).zip(entries) {
        if flags & ALL != 0 || n == entry {
            *cleared = 0;
        }
    }
}
