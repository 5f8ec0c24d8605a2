//! What a VFIO command takes, as data.

use crate::layout::{Field, UapiStruct, Value};
use crate::{Errno, Fault, copy_struct, read_size};

/// A VFIO command of one kind of file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VfioCommand {
    /// The number: the whole second argument of `ioctl(2)`.
    pub request: u32,
    /// The name in the header, such as `VFIO_IOMMU_MAP_DMA`.
    pub name: &'static str,
    /// What the third argument of `ioctl(2)` is.
    pub argument: Argument,
}

/// The third argument of a VFIO command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Argument {
    /// Ignored.
    None,
    /// A number.
    Number,
    /// Pointer to a 32-bit number, mostly a descriptor.
    NumberAt,
    /// Pointer to text that ends with a zero byte.
    Text,
    /// Pointer to a struct.
    Struct {
        /// Bytes that must be there.
        min_size: usize,
        /// The fields of the struct, without the array that may follow.
        fields: &'static [Field],
    },
}

impl VfioCommand {
    /// A command without a struct.
    pub(super) const fn plain(request: u32, name: &'static str, argument: Argument) -> Self {
        Self {
            request,
            name,
            argument,
        }
    }

    /// A command with a struct, which must be there up to the end of its field `last`.
    pub(super) const fn with<T: UapiStruct>(request: u32, name: &'static str, last: &str) -> Self {
        let argument = Argument::Struct {
            min_size: Field::find(T::FIELDS, last).end(),
            fields: T::FIELDS,
        };
        Self::plain(request, name, argument)
    }

    /// The fields of the struct that `bytes` hold, with their values; none when the argument is not a struct.
    pub fn fields<'a>(
        &self,
        bytes: &'a [u8],
    ) -> impl Iterator<Item = (&'static str, Value)> + use<'a> {
        let fields: &'static [Field] = match self.argument {
            Argument::Struct { fields, .. } => fields,
            _ => &[],
        };
        fields
            .iter()
            .filter(|field| !field.is_padding())
            .filter_map(|field| Some((field.name, field.value(bytes)?)))
    }
}

/// Reads a struct whose first field is `argsz`, the size by the caller's word, and whose fields up to `min_size` must be there. What
/// lies beyond is zero in the result: the caller reads it where a flag says that it counts.
///
/// # Errors
/// In this order: `EFAULT`, `EINVAL` when `argsz` is less than `min_size`.
///
/// # Panics
/// When `min_size` is not within the struct.
pub fn copy_min<T: UapiStruct>(
    min_size: usize,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), Fault>,
) -> Result<T, Errno> {
    let mut value = T::new_zeroed();
    let bytes = value.as_mut_bytes();
    read(0, &mut bytes[..min_size])?;
    let argsz = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    match usize::try_from(argsz) {
        Ok(argsz) if argsz < min_size => Err(Errno::EINVAL),
        _ => Ok(value),
    }
}

/// Reads a struct whose first field is `argsz` by the rule of [`copy_struct`], as the commands of device files that are newer
/// than IOMMUFD do.
///
/// # Errors
/// As [`copy_struct`]; first of all `EFAULT` when `argsz` cannot be read.
pub fn copy_extensible<T: UapiStruct>(
    min_size: usize,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), Fault>,
) -> Result<T, Errno> {
    let argsz = read_size(&mut read)?;
    let mut value = T::new_zeroed();
    copy_struct(argsz, min_size, value.as_mut_bytes(), read)?;
    Ok(value)
}

#[cfg(test)]
mod tests;
