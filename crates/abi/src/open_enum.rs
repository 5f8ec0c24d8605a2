//! Enumerations that keep values nobody has named yet.

/// Defines a newtype over an integer with the values the header names.
macro_rules! open_enum {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($repr:ty) {
            $($(#[$value_meta:meta])* $value:ident = $number:expr,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(pub $repr);

        impl $name {
            $($(#[$value_meta])* pub const $value: Self = Self($number);)*

            /// The values that have a name, and the names without the header's prefix.
            pub const NAMED: &[(&str, Self)] = &[$((stringify!($value), Self::$value)),*];

            /// The name of this value, if it has one.
            pub fn name(self) -> Option<&'static str> {
                let named = Self::NAMED.iter().find(|(_, value)| *value == self);
                named.map(|(name, _)| *name)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, concat!(stringify!($name), "({:#x})"), self.0),
                }
            }
        }
    };
}

pub(crate) use open_enum;
