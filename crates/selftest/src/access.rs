//! Software accesses as files: what a driver without an IOMMU does, driven by a client.
//!
//! The file has no operations; its number names the access in the operations of the test command, and closing it ends
//! the access. It keeps its context open.

mod copies;
mod pins;

use std::any::Any;
use std::sync::Arc;

use swiommu_abi::test_cmd::{AccessReplaceIoas, CreateAccess, IommuTestCmd, MockFlagsAccessCreate};
use swiommu_files::{Descriptor, FdNumber, File, InstallFlags, Stat};
use swiommu_iommufd::{AccessKind, Call, Context, ObjectId, Outcome, SoftwareAccess};

pub(crate) use copies::rw;
pub(crate) use pins::{pin, unpin};

use crate::Error;
use pins::Pins;

/// The most bytes that one operation of an access takes.
const MOST: u64 = 16 << 20;

/// The file behind the descriptor of an access.
#[derive(Debug)]
struct AccessFile {
    pins: Arc<Pins>,
    // Declared in the order of release: the access, then the context.
    access: SoftwareAccess,
    _context: Arc<Context>,
}

impl Drop for AccessFile {
    /// Unpins while an unmap can still ask for it.
    fn drop(&mut self) {
        self.pins.clear();
    }
}

impl File for AccessFile {
    fn name(&self) -> &'static str {
        "anon_inode:[iommufd_test_staccess]"
    }

    fn stat(&self) -> Stat {
        Stat::Anonymous
    }
}

/// `CREATE_ACCESS`.
pub(crate) fn create(call: &Call<'_>, cmd: &mut IommuTestCmd) -> Result<Outcome, Error> {
    let mut body: CreateAccess = cmd.body.get();
    let flags =
        MockFlagsAccessCreate::from_bits(body.flags).ok_or(Error::UnknownFlags(body.flags))?;
    let kind = if flags.contains(MockFlagsAccessCreate::NEEDS_PIN_PAGES) {
        AccessKind::Pins
    } else {
        AccessKind::Copies
    };
    let context = call.context();
    let pins = Arc::new(Pins::default());
    let client = Arc::downgrade(&pins);
    let access = context.access(kind, client)?;
    access.attach(ObjectId(cmd.id))?;
    let file = Arc::new(AccessFile {
        pins,
        access,
        _context: context.clone(),
    });
    let fd = call.install(file, InstallFlags::CLOEXEC)?;
    body.out_access_fd = fd.0.cast_unsigned();
    cmd.body.set(body);
    Ok(Outcome::DONE.installed())
}

/// `ACCESS_REPLACE_IOAS`.
pub(crate) fn replace_ioas(call: &Call<'_>, cmd: &IommuTestCmd) -> Result<Outcome, Error> {
    let AccessReplaceIoas { ioas_id } = cmd.body.get();
    find(call, cmd)?.access.replace(ObjectId(ioas_id))?;
    Ok(Outcome::DONE)
}

/// The access whose descriptor the command names.
fn find(call: &Call<'_>, cmd: &IommuTestCmd) -> Result<Arc<AccessFile>, Error> {
    let fd = FdNumber(cmd.id.cast_signed());
    let Ok(Descriptor::Served(file)) = call.caller().descriptor(fd) else {
        return Err(Error::NotAccess(fd));
    };
    let file: Arc<dyn Any + Send + Sync> = file;
    file.downcast().map_err(|_| Error::NotAccess(fd))
}
