//! The ioctls of an IOAS, and DESTROY.

use swiommu_abi::Errno;
use swiommu_abi::ioas::{
    IommuIoasAlloc, IommuIoasAllowIovas, IommuIoasChangeProcess, IommuIoasCopy,
    IommuIoasIovaRanges, IommuIoasMap, IommuIoasMapFile, IommuIoasNoiommuGetPa, IommuIoasUnmap,
    IommuIovaRange, IommufdIoasMapFlags as MapFlags,
};
use swiommu_abi::object::IommuDestroy;
use swiommu_addr::{Hva, Iova, IovaRange};
use swiommu_files::{Capability, Descriptor, FdNumber};
use swiommu_iommu::Prot;
use swiommu_mem::{FileOffset, MemFile};
use swiommu_sabotage::Fault;
use zerocopy::IntoBytes;

use super::{Call, Outcome, reserved_is_zero};
use crate::Error;
use crate::ioas::{Ioas, MapRequest, MapSource, Placement};
use crate::object::ObjectId;

const NO_ADDRESS: u64 = u64::MAX;

pub(super) fn destroy(call: Call<'_>, cmd: &mut IommuDestroy) -> Result<Outcome, Error> {
    call.context.check_unmapped(call.caller, ObjectId(cmd.id))?;
    call.context.destroy(ObjectId(cmd.id))?;
    Ok(Outcome::DONE)
}

pub(super) fn alloc(call: Call<'_>, cmd: &mut IommuIoasAlloc) -> Result<Outcome, Error> {
    reserved_is_zero("flags", cmd.flags)?;
    let draft = call.context.draft_ioas()?;
    cmd.out_ioas_id = draft.id().0;
    Ok(Outcome::publish(draft))
}

pub(super) fn iova_ranges(call: Call<'_>, cmd: &mut IommuIoasIovaRanges) -> Result<Outcome, Error> {
    reserved_is_zero("__reserved", cmd.__reserved)?;
    let ioas = call.state().objects.get::<Ioas>(ObjectId(cmd.ioas_id))?;
    let ranges = ioas.usable_ranges();
    let room = cmd.num_iovas;
    cmd.out_iova_alignment = ioas.alignment().bytes();
    cmd.num_iovas = u32::try_from(ranges.len()).unwrap_or(u32::MAX);
    let entries: Vec<IommuIovaRange> = ranges
        .iter()
        .take(usize::try_from(room).unwrap_or(usize::MAX))
        .map(|range| IommuIovaRange {
            start: range.start().get(),
            last: range.last().get(),
        })
        .collect();
    if !entries.is_empty() {
        call.write(Hva::new(cmd.allowed_iovas), entries.as_bytes())?;
    }
    if cmd.num_iovas > room {
        Err(Error::ArrayTooSmall(room))
    } else {
        Ok(Outcome::DONE)
    }
}

pub(super) fn allow_iovas(call: Call<'_>, cmd: &mut IommuIoasAllowIovas) -> Result<Outcome, Error> {
    reserved_is_zero("__reserved", cmd.__reserved)?;
    let ioas = call.state().objects.get::<Ioas>(ObjectId(cmd.ioas_id))?;
    let mut allowed = swiommu_iova::AllowList::default();
    let mut at = cmd.allowed_iovas;
    for _ in 0..cmd.num_iovas {
        let mut entry = IommuIovaRange::default();
        call.read(Hva::new(at), entry.as_mut_bytes())?;
        allowed.push(Iova::new(entry.start), Iova::new(entry.last))?;
        at = at.wrapping_add(size_of::<IommuIovaRange>() as u64);
    }
    ioas.allow(allowed)?;
    Ok(Outcome::DONE)
}

pub(super) fn map(call: Call<'_>, cmd: &mut IommuIoasMap) -> Result<Outcome, Error> {
    if Fault::WrongErrnoOrder.is_on() {
        call.state().objects.get::<Ioas>(ObjectId(cmd.ioas_id))?;
    }
    let flags = map_flags(cmd.flags)?;
    reserved_is_zero("__reserved", cmd.__reserved)?;
    not_no_address(cmd.iova, cmd.length)?;
    let prot = prot(flags)?;
    let source = MapSource::Memory(Hva::new(cmd.user_va));
    let ioas = ObjectId(cmd.ioas_id);
    cmd.iova = map_source(
        call,
        ioas,
        source,
        cmd.length,
        placement(flags, cmd.iova),
        prot,
    )?;
    Ok(Outcome::DONE)
}

pub(super) fn map_file(call: Call<'_>, cmd: &mut IommuIoasMapFile) -> Result<Outcome, Error> {
    let flags = map_flags(cmd.flags)?;
    not_no_address(cmd.iova, cmd.length)?;
    let prot = prot(flags)?;
    let ioas = ObjectId(cmd.ioas_id);
    call.state().objects.get::<Ioas>(ioas)?;
    let start = FileOffset::new(cmd.start);
    if cmd.length == 0 {
        return Err(Error::ZeroLength);
    }
    if cmd.start.checked_add(cmd.length - 1).is_none() {
        return Err(Error::Overflow {
            start: cmd.start,
            len: cmd.length,
        });
    }
    let source = open_source(call, cmd.fd, start)?;
    cmd.iova = map_source(
        call,
        ioas,
        source,
        cmd.length,
        placement(flags, cmd.iova),
        prot,
    )?;
    Ok(Outcome::DONE)
}

fn open_source(call: Call<'_>, fd: i32, start: FileOffset) -> Result<MapSource, Error> {
    let failed = |errno| Error::Descriptor { fd, errno };
    let file = match call.caller.descriptor(FdNumber(fd)).map_err(failed)? {
        Descriptor::Native(file) => MemFile::new(file)
            .map_err(|error| failed(error.raw_os_error().map_or(Errno::EBADF, Into::into)))?,
        Descriptor::Served(file) => match file.dma_buf() {
            Some(buf) => return Ok(MapSource::DmaBuf(buf, start)),
            // The kernel takes any file here, and refuses it once it is pinned. Any file without memory stands for ours.
            None => std::fs::File::open("/dev/null")
                .map(Into::into)
                .and_then(MemFile::new)
                .map_err(|_| failed(Errno::EBADF))?,
        },
    };
    Ok(MapSource::File(file, start))
}

fn map_source(
    call: Call<'_>,
    ioas: ObjectId,
    source: MapSource,
    len: u64,
    placement: Placement,
    prot: Prot,
) -> Result<u64, Error> {
    let owner = call.caller.space();
    let accounting = call.context.accounting(call.caller);
    let request = MapRequest {
        owner,
        accounting,
        source,
        len,
        placement,
        prot,
    };
    Ok(call.context.map(ioas, request)?.get())
}

pub(super) fn copy(call: Call<'_>, cmd: &mut IommuIoasCopy) -> Result<Outcome, Error> {
    name_area_by_number(call, cmd);
    let flags = map_flags(cmd.flags)?;
    not_no_address(cmd.src_iova, cmd.length)?;
    not_no_address(cmd.dst_iova, cmd.length)?;
    let prot = prot(flags)?;
    let (source, target) = (ObjectId(cmd.src_ioas_id), ObjectId(cmd.dst_ioas_id));
    let placement = placement(flags, cmd.dst_iova);
    let source = (source, Iova::new(cmd.src_iova));
    cmd.dst_iova = call
        .context
        .copy(source, cmd.length, target, placement, prot)?
        .get();
    Ok(Outcome::DONE)
}

/// The test driver may name the source by the number of its area (§9.11).
fn name_area_by_number(call: Call<'_>, cmd: &mut IommuIoasCopy) {
    let extension = call.context.extension();
    let Some(flags) = extension.and_then(|driver| driver.names_area_by_number(cmd.flags)) else {
        return;
    };
    cmd.flags = flags;
    let (source, name) = (ObjectId(cmd.src_ioas_id), Iova::new(cmd.src_iova));
    // An unknown IOAS is found out later.
    if let Ok(iova) = call.context.area_by_number(source, name) {
        cmd.src_iova = iova.get();
    }
}

pub(super) fn unmap(call: Call<'_>, cmd: &mut IommuIoasUnmap) -> Result<Outcome, Error> {
    let ioas = call.state().objects.get::<Ioas>(ObjectId(cmd.ioas_id))?;
    cmd.length = if cmd.iova == 0 && cmd.length == u64::MAX {
        ioas.unmap_areas(IovaRange::full())?
    } else {
        not_no_address(cmd.iova, cmd.length)?;
        ioas.unmap(crate::ioas::checked_range(Iova::new(cmd.iova), cmd.length)?)?
    };
    Ok(Outcome::DONE)
}

pub(super) fn change_process(
    call: Call<'_>,
    cmd: &mut IommuIoasChangeProcess,
) -> Result<Outcome, Error> {
    reserved_is_zero("__reserved", cmd.__reserved)?;
    call.context.change_process(call.caller.space())?;
    Ok(Outcome::DONE)
}

pub(super) fn noiommu_get_pa(
    call: Call<'_>,
    cmd: &mut IommuIoasNoiommuGetPa,
) -> Result<Outcome, Error> {
    if !call.caller.capable(Capability::SysRawio) {
        return Err(Error::NotCapable("CAP_SYS_RAWIO"));
    }
    reserved_is_zero("flags", cmd.flags)?;
    reserved_is_zero("__reserved", cmd.__reserved)?;
    if cmd.length == 0 {
        return Err(Error::ZeroLength);
    }
    let iova = Iova::new(cmd.iova);
    if cmd.iova == u64::MAX {
        return Err(Error::Overflow {
            start: cmd.iova,
            len: cmd.length,
        });
    }
    let (physical, contiguous) =
        call.context
            .noiommu_physical(ObjectId(cmd.ioas_id), iova, cmd.length)?;
    cmd.out_phys = physical.get();
    cmd.length = contiguous;
    Ok(Outcome::DONE)
}

fn map_flags(raw: u32) -> Result<MapFlags, Error> {
    let unknown = Error::UnknownFlags {
        field: "flags",
        value: raw.into(),
    };
    MapFlags::from_bits(raw).ok_or(unknown)
}

fn prot(flags: MapFlags) -> Result<Prot, Error> {
    let mut prot = Prot::empty();
    prot.set(Prot::READ, flags.contains(MapFlags::READABLE));
    prot.set(Prot::WRITE, flags.contains(MapFlags::WRITEABLE));
    if prot.is_empty() {
        Err(Error::NoPermission)
    } else {
        Ok(prot)
    }
}

fn placement(flags: MapFlags, iova: u64) -> Placement {
    if flags.contains(MapFlags::FIXED_IOVA) {
        Placement::Fixed(Iova::new(iova))
    } else {
        Placement::Automatic
    }
}

/// 2^64-1 is neither an IOVA nor a length of a mapping.
fn not_no_address(iova: u64, len: u64) -> Result<(), Error> {
    if iova == NO_ADDRESS || len == NO_ADDRESS {
        return Err(Error::Overflow { start: iova, len });
    }
    Ok(())
}
