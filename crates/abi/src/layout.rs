//! What every struct of the uAPI can tell about itself.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A struct of the uAPI: plain bytes of a fixed layout, with its fields as data.
///
/// Fields are raw integers, because this is what is on the wire: an address is a `u64`, an enumeration or a set of flags an
/// integer beside whose field stands a type with the known values. Unknown values survive. Fields have the names of the
/// header; a name with one leading underscore stands for bytes that the C compiler inserts.
pub trait UapiStruct:
    Copy + Default + FromBytes + IntoBytes + Immutable + KnownLayout + 'static
{
    /// The name in the header, such as `iommu_ioas_map`.
    const NAME: &'static str;

    /// The fields, by ascending offset.
    const FIELDS: &'static [Field];

    /// The size in bytes, as the field `size` or `argsz` has it.
    const SIZE: u32 = {
        assert!(size_of::<Self>() < 1 << 16);
        #[expect(clippy::cast_possible_truncation, reason = "checked above")]
        let size = size_of::<Self>() as u32;
        size
    };
}

/// One field of a [`UapiStruct`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// The name in the header.
    pub name: &'static str,
    /// Bytes from the start of the struct.
    pub offset: usize,
    /// Bytes of the field.
    pub size: usize,
    /// How to read it.
    pub kind: Kind,
}

/// How to read the bytes of a [`Field`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An unsigned integer of 1, 2, 4 or 8 bytes.
    Unsigned,
    /// A signed integer of 4 bytes: a file descriptor.
    Signed,
    /// Unsigned integers of `element` bytes each.
    Array {
        /// Bytes of an element.
        element: usize,
    },
    /// Something whose shape another field tells.
    Union,
}

/// The value of a [`Field`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Of [`Kind::Unsigned`].
    Unsigned(u64),
    /// Of [`Kind::Signed`].
    Signed(i64),
    /// Of [`Kind::Array`].
    Array(Vec<u64>),
}

impl Field {
    /// The first offset past the field.
    pub const fn end(&self) -> usize {
        self.offset + self.size
    }

    /// The field of this name, in a constant.
    pub(crate) const fn find(fields: &[Self], name: &str) -> Self {
        let mut at = 0;
        while !same_name(fields[at].name, name) {
            at += 1;
        }
        fields[at]
    }

    /// Whether the header does not know the field: it names bytes that the C compiler inserts.
    pub const fn is_padding(&self) -> bool {
        matches!(self.name.as_bytes(), [b'_', second, ..] if *second != b'_')
    }

    /// The field's value in `bytes`, which hold the struct from its start; `None` when they end before the field does, and for a
    /// union.
    pub fn value(&self, bytes: &[u8]) -> Option<Value> {
        let bytes = bytes.get(self.offset..self.end())?;
        match self.kind {
            Kind::Unsigned => Some(Value::Unsigned(unsigned(bytes))),
            Kind::Signed => {
                let shift = 64 - 8 * bytes.len();
                let widened = unsigned(bytes) << shift;
                Some(Value::Signed(widened.cast_signed() >> shift))
            }
            Kind::Array { element } => {
                Some(Value::Array(bytes.chunks(element).map(unsigned).collect()))
            }
            Kind::Union => None,
        }
    }
}

/// The little-endian number in at most 8 bytes.
fn unsigned(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The types that a field can have.
pub(crate) trait FieldType {
    /// How to read one.
    const KIND: Kind;
}

macro_rules! field_types {
    ($($type:ty: $kind:expr),*) => {
        $(impl FieldType for $type {
            const KIND: Kind = $kind;
        })*
    };
}

field_types!(u8: Kind::Unsigned, u16: Kind::Unsigned, u32: Kind::Unsigned, u64: Kind::Unsigned, i32: Kind::Signed);

impl<T, const N: usize> FieldType for [T; N] {
    const KIND: Kind = Kind::Array {
        element: size_of::<T>(),
    };
}

/// A Rust identifier as the header spells it: `type`, not `r#type`.
pub(crate) const fn header_name(identifier: &'static str) -> &'static str {
    match identifier.as_bytes() {
        [b'r', b'#', ..] => identifier.split_at(2).1,
        _ => identifier,
    }
}

/// Whether two names are the same, in a constant.
const fn same_name(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut at = 0;
    while at < left.len() && at < right.len() && left[at] == right[at] {
        at += 1;
    }
    at == left.len() && at == right.len()
}

/// Defines a struct of the uAPI and its [`UapiStruct`] description from one list of fields.
macro_rules! uapi_struct {
    (
        $(#[$meta:meta])*
        pub struct $name:ident = $header_name:literal {
            $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[doc(alias = $header_name)]
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        #[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)]
        #[repr(C)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl $crate::layout::UapiStruct for $name {
            const NAME: &'static str = $header_name;
            const FIELDS: &'static [$crate::layout::Field] = &[
                $($crate::layout::Field {
                    name: $crate::layout::header_name(stringify!($field)),
                    offset: std::mem::offset_of!($name, $field),
                    size: size_of::<$type>(),
                    kind: <$type as $crate::layout::FieldType>::KIND,
                },)*
            ];
        }

        impl $crate::layout::FieldType for $name {
            const KIND: $crate::layout::Kind = $crate::layout::Kind::Array { element: 1 };
        }
    };
}

pub(crate) use uapi_struct;
