//! The uAPI of IOMMUFD and VFIO as types: `linux/iommufd.h` and `linux/vfio.h` of Linux 7.3, and the test command of the mock
//! IOMMU.
//!
//! Structs are plain bytes ([`UapiStruct`]) with the field names of the header and raw integers in them, since a client may pass
//! anything; beside them stand `bitflags` for flags and open newtypes for enumerations. Addresses are numbers here: they get their
//! types where a command is carried out. Each struct knows its fields, so a trace can show them by name.
//!
//! The rule by which a struct may grow is here once, as [data](command::COMMANDS) and a [function](copy_struct):
//!
//! ```
//! use swiommu_abi::command::{CommandSet, Route, UserCommand, classify};
//! use swiommu_abi::ioas::{IOMMU_IOAS_MAP, IommuIoasMap, IommufdIoasMapFlags};
//! use swiommu_abi::{Errno, Fault, UapiStruct, Value};
//! use zerocopy::IntoBytes;
//!
//! let argument = IommuIoasMap {
//!     size: IommuIoasMap::SIZE,
//!     flags: IommufdIoasMapFlags::READABLE.bits(),
//!     ioas_id: 1,
//!     length: 0x1000,
//!     ..Default::default()
//! };
//! let memory = |offset: u64, out: &mut [u8]| {
//!     let start = usize::try_from(offset).map_err(|_| Fault)?;
//!     let end = start.checked_add(out.len()).ok_or(Fault)?;
//!     out.copy_from_slice(argument.as_bytes().get(start..end).ok_or(Fault)?);
//!     Ok(())
//! };
//!
//! let Route::Command(command) = classify(IOMMU_IOAS_MAP, CommandSet::Released) else {
//!     unreachable!()
//! };
//! let mut call = UserCommand::read(command, memory)?;
//! assert!(
//!     command
//!         .fields(call.bytes())
//!         .any(|field| field == ("length", Value::Unsigned(0x1000)))
//! );
//!
//! let mut map: IommuIoasMap = call.get();
//! map.iova = 0x10_0000;
//! call.set(map);
//! let (offset, bytes) = call.reply(Ok(())).unwrap();
//! assert_eq!((offset, bytes), (0, map.as_bytes()));
//! # Ok::<(), Errno>(())
//! ```
//!
//! The names, numbers and layouts are those of the headers, which are published as the interface to programs under
//! `GPL-2.0 WITH Linux-syscall-note`. No text of them is here.

#![forbid(unsafe_code)]
#![expect(
    clippy::pub_underscore_fields,
    reason = "fields have the names of the header, among them `__reserved`"
)]
#![expect(
    missing_debug_implementations,
    reason = "the zerocopy derives define hidden types; all of ours have it"
)]

mod errno;
mod extensible;
mod layout;
mod open_enum;
mod request;

pub mod command;
pub mod dirty;
pub mod fault;
pub mod hw_info;
pub mod hw_queue;
pub mod hwpt;
pub mod invalidate;
pub mod ioas;
pub mod mock;
pub mod object;
pub mod option;
pub mod test_cmd;
pub mod veventq;
pub mod vfio;
pub mod viommu;

pub use errno::Errno;
pub use extensible::{Fault, copy_struct, read_size};
pub use layout::{Field, Kind, UapiStruct, Value};
pub use request::{nr, request};
