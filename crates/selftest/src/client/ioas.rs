//! Calls on an IOAS, and DESTROY.

use swiommu_abi::UapiStruct;
use swiommu_abi::ioas::{
    IOMMU_IOAS_ALLOC, IOMMU_IOAS_ALLOW_IOVAS, IOMMU_IOAS_CHANGE_PROCESS, IOMMU_IOAS_COPY,
    IOMMU_IOAS_IOVA_RANGES, IOMMU_IOAS_MAP, IOMMU_IOAS_MAP_FILE, IOMMU_IOAS_UNMAP, IommuIoasAlloc,
    IommuIoasAllowIovas, IommuIoasChangeProcess, IommuIoasCopy, IommuIoasIovaRanges, IommuIoasMap,
    IommuIoasMapFile, IommuIoasUnmap, IommuIovaRange, IommufdIoasMapFlags as MapFlags,
};
use swiommu_abi::object::{IOMMU_DESTROY, IommuDestroy};
use swiommu_abi::option::{
    IOMMU_OPTION, IOMMU_VFIO_IOAS, IommuOption, IommuVfioIoas, IommufdOption, IommufdOptionOps,
    IommufdVfioIoasOp,
};
use swiommu_addr::{Hva, Iova, IovaRange, PageSize};
use swiommu_files::FdNumber;
use swiommu_iommufd::ObjectId;
use zerocopy::IntoBytes;

use super::{Client, Result};

fn fixed(iova: Option<Iova>, flags: MapFlags) -> MapFlags {
    let mut flags = flags;
    flags.set(MapFlags::FIXED_IOVA, iova.is_some());
    flags
}

/// Each method is one ioctl; its errors are that ioctl's.
impl Client {
    /// `IOMMU_DESTROY`.
    ///
    /// # Errors
    /// The call's.
    pub fn destroy(&self, id: ObjectId) -> Result<()> {
        let mut cmd = IommuDestroy {
            size: IommuDestroy::SIZE,
            id: id.0,
        };
        self.ioctl(IOMMU_DESTROY, &mut cmd).map(drop)
    }

    /// `IOMMU_IOAS_ALLOC`.
    ///
    /// # Errors
    /// The call's.
    pub fn ioas_alloc(&self) -> Result<ObjectId> {
        let mut cmd = IommuIoasAlloc {
            size: IommuIoasAlloc::SIZE,
            ..Default::default()
        };
        self.ioctl(IOMMU_IOAS_ALLOC, &mut cmd)?;
        Ok(ObjectId(cmd.out_ioas_id))
    }

    /// `IOMMU_IOAS_MAP`, readable and writable, where there is room.
    ///
    /// # Errors
    /// The call's.
    pub fn map(&self, ioas: ObjectId, from: Hva, len: u64) -> Result<Iova> {
        let flags = MapFlags::READABLE | MapFlags::WRITEABLE;
        self.map_with(ioas, from, len, None, flags)
    }

    /// `IOMMU_IOAS_MAP`, readable and writable, at an IOVA.
    ///
    /// # Errors
    /// The call's.
    pub fn map_fixed(&self, ioas: ObjectId, from: Hva, len: u64, iova: Iova) -> Result<()> {
        let flags = MapFlags::READABLE | MapFlags::WRITEABLE;
        self.map_with(ioas, from, len, Some(iova), flags).map(drop)
    }

    /// `IOMMU_IOAS_MAP`, at an IOVA or where there is room.
    ///
    /// # Errors
    /// The call's.
    pub fn map_with(
        &self,
        ioas: ObjectId,
        from: Hva,
        len: u64,
        iova: Option<Iova>,
        flags: MapFlags,
    ) -> Result<Iova> {
        let mut cmd = IommuIoasMap {
            size: IommuIoasMap::SIZE,
            flags: fixed(iova, flags).bits(),
            ioas_id: ioas.0,
            user_va: from.get(),
            length: len,
            iova: iova.map_or(0, Iova::get),
            ..Default::default()
        };
        self.ioctl(IOMMU_IOAS_MAP, &mut cmd)?;
        Ok(Iova::new(cmd.iova))
    }

    /// `IOMMU_IOAS_MAP_FILE`, readable and writable, at an IOVA or where there is room.
    ///
    /// # Errors
    /// The call's.
    pub fn map_file(
        &self,
        ioas: ObjectId,
        file: FdNumber,
        start: u64,
        len: u64,
        iova: Option<Iova>,
    ) -> Result<Iova> {
        let mut cmd = IommuIoasMapFile {
            size: IommuIoasMapFile::SIZE,
            flags: fixed(iova, MapFlags::READABLE | MapFlags::WRITEABLE).bits(),
            ioas_id: ioas.0,
            fd: file.0,
            start,
            length: len,
            iova: iova.map_or(0, Iova::get),
        };
        self.ioctl(IOMMU_IOAS_MAP_FILE, &mut cmd)?;
        Ok(Iova::new(cmd.iova))
    }

    /// `IOMMU_IOAS_COPY`, readable and writable, at an IOVA or where there is room.
    ///
    /// # Errors
    /// The call's.
    pub fn copy(
        &self,
        (source, from): (ObjectId, Iova),
        len: u64,
        target: ObjectId,
        iova: Option<Iova>,
    ) -> Result<Iova> {
        let flags = fixed(iova, MapFlags::READABLE | MapFlags::WRITEABLE);
        self.copy_with((source, from), len, target, iova, flags.bits())
    }

    /// `IOMMU_IOAS_COPY` with any flags.
    ///
    /// # Errors
    /// The call's.
    pub fn copy_with(
        &self,
        (source, from): (ObjectId, Iova),
        len: u64,
        target: ObjectId,
        iova: Option<Iova>,
        flags: u32,
    ) -> Result<Iova> {
        let mut cmd = IommuIoasCopy {
            size: IommuIoasCopy::SIZE,
            flags,
            dst_ioas_id: target.0,
            src_ioas_id: source.0,
            length: len,
            dst_iova: iova.map_or(0, Iova::get),
            src_iova: from.get(),
        };
        self.ioctl(IOMMU_IOAS_COPY, &mut cmd)?;
        Ok(Iova::new(cmd.dst_iova))
    }

    /// `IOMMU_IOAS_UNMAP`. Returns how many bytes were mapped.
    ///
    /// # Errors
    /// The call's.
    pub fn unmap(&self, ioas: ObjectId, iova: Iova, len: u64) -> Result<u64> {
        let mut cmd = IommuIoasUnmap {
            size: IommuIoasUnmap::SIZE,
            ioas_id: ioas.0,
            iova: iova.get(),
            length: len,
        };
        self.ioctl(IOMMU_IOAS_UNMAP, &mut cmd)?;
        Ok(cmd.length)
    }

    /// `IOMMU_IOAS_UNMAP` of everything. Returns how many bytes were mapped.
    ///
    /// # Errors
    /// The call's.
    pub fn unmap_all(&self, ioas: ObjectId) -> Result<u64> {
        self.unmap(ioas, Iova::new(0), u64::MAX)
    }

    /// `IOMMU_IOAS_IOVA_RANGES`: the usable ranges, and the alignment of IOVAs.
    ///
    /// # Errors
    /// The call's.
    pub fn iova_ranges(&self, ioas: ObjectId) -> Result<(Vec<IovaRange>, PageSize)> {
        const ROOM: u32 = 128;
        let mut ranges = [IommuIovaRange::default(); ROOM as usize];
        let buffer = self.place(ranges.as_bytes())?;
        let mut cmd = IommuIoasIovaRanges {
            size: IommuIoasIovaRanges::SIZE,
            ioas_id: ioas.0,
            num_iovas: ROOM,
            allowed_iovas: buffer.at(0).get(),
            ..Default::default()
        };
        self.ioctl(IOMMU_IOAS_IOVA_RANGES, &mut cmd)?;
        buffer.read(0, ranges.as_mut_bytes())?;
        let ranges = ranges.iter().take(cmd.num_iovas as usize);
        let ranges = ranges
            .filter_map(|range| IovaRange::new(Iova::new(range.start), Iova::new(range.last)));
        let alignment = PageSize::from_bytes(cmd.out_iova_alignment).unwrap_or(PageSize::BYTE);
        Ok((ranges.collect(), alignment))
    }

    /// `IOMMU_IOAS_ALLOW_IOVAS`. A range is given by its first and last IOVA, in whatever order.
    ///
    /// # Errors
    /// The call's.
    pub fn allow_iovas(&self, ioas: ObjectId, ranges: &[(Iova, Iova)]) -> Result<()> {
        let entries: Vec<IommuIovaRange> = ranges
            .iter()
            .map(|(start, last)| IommuIovaRange {
                start: start.get(),
                last: last.get(),
            })
            .collect();
        let buffer = self.place(entries.as_bytes())?;
        let mut cmd = IommuIoasAllowIovas {
            size: IommuIoasAllowIovas::SIZE,
            ioas_id: ioas.0,
            num_iovas: u32::try_from(entries.len()).unwrap_or(u32::MAX),
            allowed_iovas: buffer.at(0).get(),
            ..Default::default()
        };
        self.ioctl(IOMMU_IOAS_ALLOW_IOVAS, &mut cmd).map(drop)
    }

    /// `IOMMU_IOAS_CHANGE_PROCESS`.
    ///
    /// # Errors
    /// The call's.
    pub fn change_process(&self) -> Result<()> {
        let mut cmd = IommuIoasChangeProcess {
            size: IommuIoasChangeProcess::SIZE,
            ..Default::default()
        };
        self.ioctl(IOMMU_IOAS_CHANGE_PROCESS, &mut cmd).map(drop)
    }

    /// `IOMMU_OPTION`, reading.
    ///
    /// # Errors
    /// The call's.
    pub fn option(&self, option: IommufdOption, object: ObjectId) -> Result<u64> {
        let mut cmd = IommuOption {
            size: IommuOption::SIZE,
            option_id: option.0,
            op: IommufdOptionOps::GET.0,
            object_id: object.0,
            ..Default::default()
        };
        self.ioctl(IOMMU_OPTION, &mut cmd)?;
        Ok(cmd.val64)
    }

    /// `IOMMU_OPTION`, writing.
    ///
    /// # Errors
    /// The call's.
    pub fn set_option(&self, option: IommufdOption, object: ObjectId, value: u64) -> Result<()> {
        let mut cmd = IommuOption {
            size: IommuOption::SIZE,
            option_id: option.0,
            op: IommufdOptionOps::SET.0,
            object_id: object.0,
            val64: value,
            ..Default::default()
        };
        self.ioctl(IOMMU_OPTION, &mut cmd).map(drop)
    }

    /// `IOMMU_VFIO_IOAS`. Returns the IOAS of the reply.
    ///
    /// # Errors
    /// The call's.
    pub fn vfio_ioas(&self, op: IommufdVfioIoasOp, ioas: ObjectId) -> Result<ObjectId> {
        let mut cmd = IommuVfioIoas {
            size: IommuVfioIoas::SIZE,
            ioas_id: ioas.0,
            op: op.0,
            ..Default::default()
        };
        self.ioctl(IOMMU_VFIO_IOAS, &mut cmd)?;
        Ok(ObjectId(cmd.ioas_id))
    }
}
