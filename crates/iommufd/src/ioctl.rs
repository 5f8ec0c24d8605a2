//! The ioctl entry (§1): finds the command, gets the struct, runs the command, writes the struct back.

mod call;
mod data;
mod dirty;
mod hwpt;
mod ioas;
mod option;
mod viommu;

use std::sync::Arc;

use call::LARGEST_STRUCT;
pub use call::{Call, Outcome};
use swiommu_abi::command::{Command, CommandSet, Route, classify};
use swiommu_abi::{
    UapiStruct, dirty as dirty_abi, hw_info, ioas as ioas_abi, option as option_abi,
};
use swiommu_addr::Hva;
use swiommu_files::{Arg, Caller, Refusal};
use swiommu_injection::{Step, step};

use crate::{Context, Error, copy, vfio};

/// Runs one ioctl.
pub(crate) fn ioctl(
    context: &Arc<Context>,
    caller: &dyn Caller,
    request: u32,
    arg: Arg,
) -> Result<i32, Refusal> {
    let commands = match context.extension() {
        Some(_) => CommandSet::WithSelftest,
        None => CommandSet::Released,
    };
    let at = arg.pointer();
    step(Step::CopyIn).map_err(Error::from)?;
    match classify(request, commands) {
        Route::Command(command) => {
            let mut room = [0; LARGEST_STRUCT];
            let room = room.get_mut(..command.full_size).unwrap_or_default();
            let head = read_head(caller, at, room);
            let size = match head.first_chunk() {
                Some(size) => u32::from_ne_bytes(*size),
                None => read_size(caller, at)?,
            };
            run(
                &Call {
                    context,
                    caller,
                    at,
                    size,
                    head,
                },
                command,
            )
        }
        Route::Unassigned => {
            read_size(caller, at)?;
            Err(Error::NoSuchIoctl(request).into())
        }
        Route::VfioCompat(command) => Ok(vfio::ioctl(context, caller, command.request, arg)?),
        Route::Unknown => Err(Error::NoSuchIoctl(request).into()),
    }
}

/// As much of the client's struct as the command knows, or nothing when that cannot be read: a shorter one may end where the
/// client's memory does.
fn read_head<'a>(caller: &dyn Caller, at: Hva, room: &'a mut [u8]) -> &'a [u8] {
    match caller.space().read(at, room) {
        Ok(()) => room,
        Err(_) => &[],
    }
}

fn read_size(caller: &dyn Caller, at: Hva) -> Result<u32, Error> {
    let mut size = [0; 4];
    copy::from_user(caller, at, &mut size)?;
    Ok(u32::from_ne_bytes(size))
}

fn run(call: &Call<'_>, command: &'static Command) -> Result<i32, Refusal> {
    match command.request {
        swiommu_abi::object::IOMMU_DESTROY => typed(call, command, ioas::destroy),
        ioas_abi::IOMMU_IOAS_ALLOC => typed(call, command, ioas::alloc),
        ioas_abi::IOMMU_IOAS_ALLOW_IOVAS => typed(call, command, ioas::allow_iovas),
        ioas_abi::IOMMU_IOAS_COPY => typed(call, command, ioas::copy),
        ioas_abi::IOMMU_IOAS_IOVA_RANGES => typed(call, command, ioas::iova_ranges),
        ioas_abi::IOMMU_IOAS_MAP => typed(call, command, ioas::map),
        ioas_abi::IOMMU_IOAS_MAP_FILE => typed(call, command, ioas::map_file),
        ioas_abi::IOMMU_IOAS_UNMAP => typed(call, command, ioas::unmap),
        ioas_abi::IOMMU_IOAS_NOIOMMU_GET_PA => typed(call, command, ioas::noiommu_get_pa),
        ioas_abi::IOMMU_IOAS_CHANGE_PROCESS => typed(call, command, ioas::change_process),
        option_abi::IOMMU_OPTION => typed(call, command, option::option),
        option_abi::IOMMU_VFIO_IOAS => typed(call, command, option::vfio_ioas),
        swiommu_abi::hwpt::IOMMU_HWPT_ALLOC => typed(call, command, hwpt::alloc),
        dirty_abi::IOMMU_HWPT_SET_DIRTY_TRACKING => typed(call, command, dirty::set_tracking),
        dirty_abi::IOMMU_HWPT_GET_DIRTY_BITMAP => typed(call, command, dirty::get_bitmap),
        swiommu_abi::fault::IOMMU_FAULT_QUEUE_ALLOC => typed(call, command, viommu::fault_queue),
        swiommu_abi::viommu::IOMMU_VIOMMU_ALLOC => typed(call, command, viommu::viommu),
        swiommu_abi::viommu::IOMMU_VDEVICE_ALLOC => typed(call, command, viommu::vdevice_alloc),
        swiommu_abi::veventq::IOMMU_VEVENTQ_ALLOC => typed(call, command, viommu::veventq_alloc),
        swiommu_abi::hw_queue::IOMMU_HW_QUEUE_ALLOC => typed(call, command, viommu::hw_queue_alloc),
        swiommu_abi::invalidate::IOMMU_HWPT_INVALIDATE => typed(call, command, viommu::invalidate),
        hw_info::IOMMU_GET_HW_INFO => typed(call, command, hwpt::hw_info),
        _ => {
            let mut bytes = vec![0; command.full_size];
            call.decode(command.min_size, &mut bytes)?;
            let result = match call.context.extension() {
                Some(driver) if command.request == swiommu_abi::test_cmd::IOMMU_TEST_CMD => {
                    driver.call(call, command, &mut bytes)
                }
                _ => Err(Error::NotServed(command.name).into()),
            };
            finish(call, command, &bytes, result)
        }
    }
}

/// Runs a command on its struct.
fn typed<T: UapiStruct>(
    call: &Call<'_>,
    command: &Command,
    handler: fn(Call<'_>, &mut T) -> Result<Outcome, Error>,
) -> Result<i32, Refusal> {
    let mut cmd = T::default();
    call.decode(command.min_size, cmd.as_mut_bytes())?;
    let result = handler(*call, &mut cmd).map_err(Refusal::from);
    finish(call, command, cmd.as_bytes(), result)
}

/// Writes back what the command's rule says, and only then makes visible what the command made.
fn finish(
    call: &Call<'_>,
    command: &Command,
    bytes: &[u8],
    result: Result<Outcome, Refusal>,
) -> Result<i32, Refusal> {
    let ended = result.as_ref().map(|_| ()).map_err(Refusal::errno);
    if let Some(range) = command.reply_range(bytes, call.size, ended) {
        let at = swiommu_addr::Address::wrapping_add(call.at, range.start as u64);
        let bytes = &bytes[range];
        match &result {
            Ok(Outcome {
                installed: true, ..
            }) => {
                let written = call.caller.space().write(at, bytes);
                written.map_err(|_| Error::CallerMemory(at))?;
            }
            _ => call.write(at, bytes)?,
        }
    }
    let outcome = result?;
    if let Some(commit) = outcome.commit {
        commit();
    }
    Ok(outcome.value)
}

/// A field that has no meaning yet.
fn reserved_is_zero(field: &'static str, value: impl Into<u64>) -> Result<(), Error> {
    match value.into() {
        0 => Ok(()),
        value => Err(Error::UnknownFlags { field, value }),
    }
}
