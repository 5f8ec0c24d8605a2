//! `IOMMU_OPTION` and `IOMMU_VFIO_IOAS` (§2.9, §2.10).

use swiommu_abi::option::{
    IommuOption, IommuVfioIoas, IommufdOption, IommufdOptionOps, IommufdVfioIoasOp,
};
use swiommu_files::Capability;

use super::{Call, Outcome, reserved_is_zero};
use crate::Error;
use crate::context::RlimitMode;
use crate::ioas::Ioas;
use crate::object::ObjectId;

pub(super) fn option(call: Call<'_>, cmd: &mut IommuOption) -> Result<Outcome, Error> {
    reserved_is_zero("__reserved", cmd.__reserved)?;
    cmd.val64 = match IommufdOption(cmd.option_id) {
        IommufdOption::RLIMIT_MODE => rlimit_mode(call, cmd)?,
        IommufdOption::HUGE_PAGES => huge_pages(call, cmd)?,
        _ => {
            return Err(Error::UnknownChoice {
                field: "option_id",
                value: cmd.option_id.into(),
            });
        }
    };
    Ok(Outcome::DONE)
}

fn rlimit_mode(call: Call<'_>, cmd: &IommuOption) -> Result<u64, Error> {
    if cmd.object_id != 0 {
        return Err(Error::UnknownChoice {
            field: "object_id",
            value: cmd.object_id.into(),
        });
    }
    match IommufdOptionOps(cmd.op) {
        IommufdOptionOps::GET => Ok(match call.context.rlimit_mode() {
            RlimitMode::User => 0,
            RlimitMode::Mm => 1,
        }),
        IommufdOptionOps::SET => {
            if !call.caller.capable(Capability::SysResource) {
                return Err(Error::NotCapable("CAP_SYS_RESOURCE"));
            }
            let mode = match cmd.val64 {
                0 => Some(RlimitMode::User),
                1 => Some(RlimitMode::Mm),
                _ => None,
            };
            call.context
                .set_rlimit_mode(|| mode.ok_or(bad_value(cmd)))?;
            Ok(cmd.val64)
        }
        _ => Err(Error::UnknownChoice {
            field: "op",
            value: cmd.op.into(),
        }),
    }
}

fn huge_pages(call: Call<'_>, cmd: &IommuOption) -> Result<u64, Error> {
    let ioas = call.state().objects.get::<Ioas>(ObjectId(cmd.object_id))?;
    match IommufdOptionOps(cmd.op) {
        IommufdOptionOps::GET => Ok(u64::from(ioas.has_large_pages())),
        IommufdOptionOps::SET => {
            match cmd.val64 {
                0 => ioas.forbid_large_pages()?,
                1 => ioas.allow_large_pages(),
                _ => return Err(bad_value(cmd)),
            }
            Ok(cmd.val64)
        }
        _ => Err(Error::UnknownChoice {
            field: "op",
            value: cmd.op.into(),
        }),
    }
}

fn bad_value(cmd: &IommuOption) -> Error {
    Error::BadValue {
        field: "val64",
        value: cmd.val64,
    }
}

pub(super) fn vfio_ioas(call: Call<'_>, cmd: &mut IommuVfioIoas) -> Result<Outcome, Error> {
    reserved_is_zero("__reserved", cmd.__reserved)?;
    match IommufdVfioIoasOp(cmd.op) {
        IommufdVfioIoasOp::GET => {
            cmd.ioas_id = call.state().vfio_ioas().ok_or(Error::NoVfioIoas)?.0;
            Ok(Outcome::DONE)
        }
        IommufdVfioIoasOp::SET => {
            let ioas = ObjectId(cmd.ioas_id);
            call.state().objects.get::<Ioas>(ioas)?;
            call.state().set_vfio_ioas(Some(ioas));
            Ok(Outcome::DONE)
        }
        IommufdVfioIoasOp::CLEAR => {
            call.state().set_vfio_ioas(None);
            Ok(Outcome::DONE)
        }
        _ => Err(Error::UnknownChoice {
            field: "op",
            value: cmd.op.into(),
        }),
    }
}
