//! Other crates that make page tables.

pub(crate) mod aarch64_paging;
pub(crate) mod page_table_multiarch;
pub(crate) mod x86_64;
