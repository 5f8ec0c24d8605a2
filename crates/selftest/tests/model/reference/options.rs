//! What is about the context or a device as a whole: OPTION, `VFIO_IOAS`, `CHANGE_PROCESS`, `GET_HW_INFO`
//! (§2.9, §2.10, §2.12, §2.19).

use swiommu_abi::Errno;

use super::Reference;
use super::objects::Object;
use crate::ground::PAGE;
use crate::reply::{Answer, words};

const RLIMIT_MODE: u32 = 0;
const HUGE_PAGES: u32 = 1;
const SET: u16 = 0;
const GET: u16 = 1;
const VFIO_GET: u16 = 0;
const VFIO_SET: u16 = 1;
const VFIO_CLEAR: u16 = 2;
const INPUT_TYPE: u32 = 1;
const HW_INFO: u32 = 0xfeed_beef;
const REGISTER: u32 = 0xdead_beef;
const DIRTY_TRACKING: u64 = 1;
const ATS_NOT_SUPPORTED: u64 = 8;

impl Reference {
    pub(crate) fn option(
        &mut self,
        option: u32,
        op: u16,
        object: u32,
        value: u64,
        reserved: u16,
    ) -> Answer {
        if reserved != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        match option {
            RLIMIT_MODE if object != 0 => Err(Errno::EOPNOTSUPP),
            RLIMIT_MODE => self.rlimit_mode(op, value),
            HUGE_PAGES => self.huge_pages(op, object, value),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    fn rlimit_mode(&mut self, op: u16, value: u64) -> Answer {
        match op {
            GET => Ok(vec![u64::from(self.charges_process)]),
            SET if !self.slots.is_empty() => Err(Errno::EBUSY),
            SET if value > 1 => Err(Errno::EINVAL),
            SET => {
                self.charges_process = value == 1;
                Ok(vec![value])
            }
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    fn huge_pages(&mut self, op: u16, id: u32, value: u64) -> Answer {
        let ioas = self.ioas(id)?;
        match (op, value) {
            (GET, _) => return Ok(vec![u64::from(ioas.large_pages)]),
            (SET, 1) => {}
            (SET, 0) => return self.forbid_large_pages(id).map(|()| vec![0]),
            (SET, _) => return Err(Errno::EINVAL),
            _ => return Err(Errno::EOPNOTSUPP),
        }
        self.ioas_mut(id).large_pages = true;
        Ok(vec![1])
    }

    pub(crate) fn forbid_large_pages(&mut self, id: u32) -> Result<(), Errno> {
        let ioas = self.ioas(id)?;
        if ioas.large_pages {
            if !self.page_tables(id).is_empty() && !ioas.areas.is_empty() {
                return Err(Errno::EINVAL);
            }
            self.check_areas(id, PAGE)?;
        }
        self.ioas_mut(id).large_pages = false;
        Ok(())
    }

    pub(crate) fn choose_vfio_ioas(&mut self, op: u16, ioas: u32, reserved: u16) -> Answer {
        if reserved != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        match op {
            VFIO_GET => return Ok(vec![self.vfio_ioas.ok_or(Errno::ENODEV)?.into()]),
            VFIO_SET => {
                self.ioas(ioas)?;
                self.vfio_ioas = Some(ioas);
            }
            VFIO_CLEAR => self.vfio_ioas = None,
            _ => return Err(Errno::EOPNOTSUPP),
        }
        Ok(vec![])
    }

    pub(crate) fn change_process(&self, reserved: u32) -> Answer {
        if reserved != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        // All mappings here are of memory, and none of files.
        let is_mapped = |object: &Object| matches!(object, Object::Ioas(i) if !i.areas.is_empty());
        if self.objects().any(|(_, object)| is_mapped(object)) {
            return Err(Errno::EINVAL);
        }
        Ok(vec![])
    }

    /// Answers with the length and type of the data, the capabilities, the bits of a PASID, and the data in a room that was filled
    /// with ones.
    pub(crate) fn hw_info(&self, device: u32, flags: u32, kind: u32, room: u32) -> Answer {
        if flags & !INPUT_TYPE != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let device = self.device(device)?;
        if flags & INPUT_TYPE != 0 && kind != 0 && kind != HW_INFO {
            return Err(Errno::EOPNOTSUPP);
        }
        let dirty = if device.no_dirty { 0 } else { DIRTY_TRACKING };
        let pasid_bits = u64::from(device.pasid_bits());
        let mut values = vec![8, HW_INFO.into(), dirty | ATS_NOT_SUPPORTED, pasid_bits];
        let mut data = 0_u32.to_le_bytes().to_vec();
        data.extend(REGISTER.to_le_bytes());
        data.resize(usize::try_from(room).unwrap_or(0), 0);
        values.extend(words(&data));
        Ok(values)
    }
}
