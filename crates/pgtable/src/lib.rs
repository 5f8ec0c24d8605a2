//! I/O page tables: one contract, one algorithm, one file per format.
//!
//! The entries in memory are bit by bit what the hardware manuals say, and they are the only truth: every operation reads
//! and writes them, and nothing is kept beside them. Tables lie in a [`TableMemory`], which can be real physical memory.
//!
//! ```
//! use swiommu_addr::{Iova, IovaRange, Pa, PaRange, PageSizes};
//! use swiommu_pgtable::{HeapTables, PageTable, Prot, fmt::Amdv1};
//!
//! let tables = HeapTables::new();
//! let table = PageTable::new(Amdv1::new(), &tables)?;
//!
//! // 6 MiB and a page, at addresses with the same offset in 2 MiB: one 4 MiB leaf of two entries, one of 2 MiB, one of 4 KiB.
//! let memory = PaRange::from_len(Pa::new(0x4040_0000), 0x60_1000).unwrap();
//! assert!(table.map(Iova::new(0x40_0000), memory, Prot::RW, PageSizes::ALL)?.replaced().is_none());
//! let found = table.translate(Iova::new(0x40_1234))?;
//! assert_eq!((found.resolve(Iova::new(0x40_1234)), found.size.bytes()), (Pa::new(0x4040_1234), 4 << 20));
//!
//! let unmapped = table.unmap(IovaRange::from_len(Iova::new(0x40_0000), 0x60_1000).unwrap())?;
//! assert_eq!(unmapped.bytes(&tables), 0x60_1000);
//! // … invalidate `unmapped.range()`, wait until nobody walks any more …
//! unmapped.flushed().free(&tables);
//! # Ok::<(), swiommu_pgtable::Error>(())
//! ```
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | entry | 64 bits of a table; little-endian in memory |
//! | table | a page of entries, found by the physical address in an entry above, or by the [`Root`] |
//! | leaf | an entry, or several, that maps IOVAs to physical memory |
//! | level | a table's distance from the bottom: 0 is the level whose entries are the smallest leaves. Arm counts the other way round, AMD from 1 |
//! | granule | the smallest leaf of a format, and the offset bits that no level resolves |
//! | slot | one of the entries that a leaf takes |
//! | default size | of a level: what one entry of its tables covers. A leaf can be larger: then it takes several slots |
//! | input | the bits of an IOVA that the walk resolves |
//! | run | a physical range that is mapped in one piece; a position is kept across all runs of a call |
//! | span | the addresses that a table, or an entry, translates |
//!
//! # What may run at the same time
//!
//! Every method takes `&self`, and nothing locks. One rule is the caller's: **calls of [`map`](PageTable::map),
//! [`unmap`](PageTable::unmap) and [`protect`](PageTable::protect) that overlap in time must not overlap in IOVAs**, where an
//! unmap that cuts a leaf counts with all of that leaf. (An address space that hands out areas keeps the rule by itself.)
//! Readers may run at any time: `translate`, `translate_all`, `leaves`, `dump`, `read_dirty`, `set_dirty`, and hardware. Why this is enough:
//!
//! 1. *A leaf entry belongs to one writer.* All addresses that a leaf entry translates, and those of an absent entry in
//!    whose place a leaf is put, are in the range of the call that writes it. So it is written by plain stores, after a
//!    look.
//! 2. *A table is taken out only by the owner of its whole span.* An unmap takes out a table only when its range covers
//!    all that the table translates; a map, only when a leaf of its own takes the place. Another writer that uses the
//!    table, on the way down to an address of its own range, has that address in the table's span, and so in the range
//!    of the first: the rule forbids it. Hence no writer sees a table vanish on its path, and nothing that it writes is
//!    lost.
//! 3. *A missing table is put in by whoever comes first.* Where its span is all in the range of one map, nobody else can
//!    want it: it is filled before anybody sees it, then published by one store. Where it reaches beyond, maps of
//!    neighbouring addresses can miss it at the same time: it is published empty, by compare-and-exchange; the loser
//!    takes the winner's, and both go on as in a table that always existed.
//! 4. *Readers see whole tables.* A table is published by a release store, after its entries, and entries are read with
//!    acquire. A table that was taken out keeps its entries: a reader inside sees the old translations, as a cache
//!    would. It is given back to the memory only by [`DetachedTables::free`], when the caller knows that all such
//!    readers have left.
//! 5. *A root only grows.* The new root is finished, with the old one below its entry 0, before the root word changes by
//!    compare-and-exchange. Both roots are valid for what the old one translates.
//! 6. *Dirty bits and permissions change by compare-and-exchange* of the entry that was looked at: a leaf that was unmapped
//!    meanwhile does not come back, and what the hardware marks while permissions change is kept. An unmap is a plain store, and can swallow a dirty bit that is set at the same moment; whoever
//!    wants it stops the device first.
//! 7. *A map fails before it changes anything.* It looks at all its addresses and counts the tables that it lacks, then
//!    sets as many aside, then writes. Meanwhile other writers can only add tables on its path, never remove one (see
//!    2), so the count suffices.
//!
//! A caller that breaks the rule gets memory-safe nonsense: lost leaves or tables, never a panic or an endless loop.
//!
//! # Formats
//!
//! | format | is | levels | granule |
//! |---|---|---|---|
//! | [`Amdv1`](fmt::Amdv1) | AMD host table | 1 to 6, grows | 4 KiB |
//! | [`MockAmdv1`](fmt::MockAmdv1) | the table of the kernel's mock IOMMU | 3 | 2 KiB |
//! | [`X86_64`](fmt::X86_64) | VT-d first stage, AMD guest table (v2) | 4, 5 | 4 KiB |
//! | [`VtdSs`](fmt::VtdSs) | VT-d second stage | 3, 4, 5 | 4 KiB |
//! | [`ArmS1`](fmt::ArmS1) | Arm VMSAv8-64 stage 1 | 1 to 5 | 4, 16, 64 KiB |
//! | [`ArmS2`](fmt::ArmS2) | Arm VMSAv8-64 stage 2 | 1 to 5 | 4, 16, 64 KiB |
//! | [`Riscv`](fmt::Riscv) | Sv39, Sv48, Sv57 and their guest-stage x4 variants | 3, 4, 5 | 4 KiB |
//!
//! A format is a value that implements [`Format`]: a page of small pure functions. What the formats of the I/O world need, and
//! where the contract has it:
//!
//! | need | example | in [`Format`] |
//! |---|---|---|
//! | granule, index bits, number of levels | Arm 4K/16K/64K; 3 to 5 levels | `GRANULE`, `INDEX_BITS`, `levels` |
//! | a root with fewer or more entries | Arm concatenated tables; RISC-V x4; AMD level 6 | `input_bits`: the root resolves what the levels below leave over |
//! | a root that grows | AMD v1 | `levels` is a range |
//! | sign-extended IOVAs, with a hole, or not | x86-64 with and without PASID; Sv39/48/57 and x4 | `upper_bits` |
//! | leaf sizes that depend on the configuration | 1G only with FS1GP | `leaf_sizes` |
//! | leaves of several identical entries | AMD size codes; RISC-V NAPOT | `SLOTS`, `leaf` |
//! | leaves of several entries with an address each | Arm contiguous hint | `SLOTS`, `leaf` |
//! | addresses stored shifted or in two pieces | the mock's PA << 1; RISC-V PPN; Arm 52-bit | `address`, `decode` |
//! | permissions that a format cannot express | none at all; read-only under a nesting parent's erratum | `attributes` returns `None` |
//! | permissions that imply others | what can be written can be read: x86-64, Arm stage 1, RISC-V | `attributes` gives both, as Linux does |
//! | permissions of table entries, the least along the path counts | AMD, x86-64, VT-d second stage, Arm stage 1 | `limit` |
//! | speed: most entries are of the ordinary kinds | an open table entry, a page, a clean leaf | `next_table`, `open_table`, `page`, `dirty_bits` say so at once; all have defaults |
//! | marks in table entries | the "flushed" bit of non-coherent walkers | `table`; `next_table` ignores them |
//! | other permissions in a leaf that is in use | write protection | `attribute_bits`, `with_attributes` |
//! | a dirty state that is a bit cleared, not set | Arm DBM with AP\[2\] | `is_dirty`, `dirtied`, `cleaned` map entries to entries |
//! | no dirty state without permission to write | Arm | `with_attributes` keeps it in a bit that is free for software |
//! | table entries that skip levels | AMD, read but never written | `Entry::Table::level` |
//! | reserved bits, illegal leaf sizes, addresses that are too wide | all | `Entry::Malformed` |
//!
//! To add one: write the file, with the manual's table of bits at its top; add a line to [`fmt`]; add its golden vectors, what
//! it reserves and permits, and one line to the list of formats that the tests in `tests/` are run for.
//!
//! # Tables of others
//!
//! A guest's table is read by the same [`Format::decode`], through a [`Walker`]: entries come from an [`EntryMemory`], which
//! may translate their addresses by a second stage, and may fault. A walk asks for an [`Access`]; it ends with the
//! translation, after it has marked the entries as the hardware does, or with a [`WalkFault`] that says at which entry and
//! why. What the hardware asks of entries, and does to them, is the trait [`HardwareWalk`], which all formats here implement.
//!
//! | what the architectures do | in [`HardwareWalk`] |
//! |---|---|
//! | the least of all entries counts, or only the leaf | `table_access`, `leaf_access` |
//! | users and privileged requesters, fetches | [`Access`] has all six kinds |
//! | SMEP, WXN, PAN, no execution of what users may write | `path_access` |
//! | A in all entries (x86-64, VT-d, AMD) or in the leaf (Arm, RISC-V) | `walked_table`, `walked_leaf` |
//! | a fault where the hardware may not set A or D (Arm AF, RISC-V) | `walked_leaf` returns `None` |
//! | memory types | `memory_type` |
//!
//! Hardware need not begin at the root: it keeps tables that it has reached. [`Walker::walk_from`] begins at such a table, and
//! tells of those that it reaches; which of them are kept, and until when, is the model's.
//!
//! # Features
//!
//! `std` (default) adds [`HeapTables`]. Without it the crate needs `alloc` only, for the list of detached tables.
//!
//! Rust 1.95 is the oldest compiler that the crate is built with.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod batch;
mod contract;
mod dirty;
mod dump;
mod error;
mod fill;
pub mod fmt;
mod geometry;
mod grow;
#[cfg(feature = "std")]
mod heap;
mod layout;
mod map;
mod memory;
#[cfg(all(loom, test))]
mod models;
mod plan;
mod prot;
mod protect;
mod reserve;
mod slots;
mod straight;
mod sync;
mod table;
mod tree;
mod unmap;
mod unmapped;
mod walk;
mod walker;

pub use contract::{Entry, Format, Leaf, LeafSlots, Malformed, UpperBits};
pub use dirty::{Cleaned, DirtyRead};
pub use dump::Dump;
pub use error::Error;
#[cfg(feature = "std")]
pub use heap::HeapTables;
pub use memory::{OutOfMemory, TableMemory};
pub use prot::Prot;
pub use protect::Protected;
pub use table::{PageTable, Root};
pub use unmapped::{DetachedTables, Mapped, Unmapped};
pub use walk::{Leaves, Translation};
pub use walker::{
    Access, Arrival, Destination, EntryAction, EntryMemory, Exchange, HardwareUpdate, HardwareWalk,
    MemoryType, NoTableMemory, PhysicalEntries, Reached, Refusal, WalkFault, WalkStep, Walked,
    Walker,
};

/// The example there.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
