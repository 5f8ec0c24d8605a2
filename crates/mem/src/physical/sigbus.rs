//! Surviving the truncation of a mapped file: the access that finds no file page any more gets an empty page instead.

#![expect(unsafe_code, reason = "installs a signal handler")]

use std::io;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use swiommu_addr::{Pa, PaRange, PageSize};

use super::region::{MAX_BITS, place_anonymous};
use super::slots::{GIB_LOG2, Slots};
use crate::volatile::host_len;

/// Pages lost between two looks of the control path; more are survived, but not reported one by one.
const LOST_PAGES: usize = 512;

/// The low bits of [`Watched::region`], under the base address, which is a multiple of a gigabyte.
const BITS_MASK: u64 = 0x3f;

/// [`Watched::region`] of an entry that is being prepared: two bytes at address 0.
const CLAIMED: u64 = 1;

/// What the signal handler knows of one region. Never freed, so that the handler may look at any of them at any time; an
/// entry whose region is gone serves the next one.
#[derive(Debug)]
pub(crate) struct Watched {
    /// Base address and, in the low bits, the logarithm of the size; 0 when free.
    region: AtomicU64,
    slots: Slots,
    /// Physical address of each lost page, and the logarithm of its size in the low bits; 0 is free.
    lost: Box<[AtomicU64]>,
    next: OnceLock<&'static Watched>,
}

/// The first of all entries.
static FIRST: OnceLock<&'static Watched> = OnceLock::new();

impl Watched {
    /// Takes an entry for the region of 2^`bits` bytes at `base`.
    pub(super) fn claim(base: NonNull<u8>, bits: u32) -> &'static Self {
        let region = base.addr().get() as u64 | u64::from(bits);
        let free = all().find(|entry| {
            entry
                .region
                .compare_exchange(0, CLAIMED, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        });
        let entry = free.unwrap_or_else(Self::append);
        entry.slots.clear_all();
        entry.take_lost().for_each(drop);
        entry.region.store(region, Ordering::Release);
        entry
    }

    /// Gives the entry back. Nobody accesses the region any more.
    pub(super) fn release(&self) {
        self.region.store(0, Ordering::Release);
    }

    fn append() -> &'static Self {
        let new: &'static Self = Box::leak(Box::new(Self {
            region: AtomicU64::new(CLAIMED),
            slots: Slots::new(1 << (MAX_BITS - GIB_LOG2)),
            lost: (0..LOST_PAGES).map(|_| AtomicU64::new(0)).collect(),
            next: OnceLock::new(),
        }));
        let mut link = &FIRST;
        while link.set(new).is_err() {
            // A link that cannot be set is set.
            if let Some(entry) = link.get() {
                link = &entry.next;
            }
        }
        new
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The pages lost since the last call.
    pub(crate) fn take_lost(&self) -> impl Iterator<Item = PaRange> {
        self.lost.iter().filter_map(|lost| {
            if lost.load(Ordering::Relaxed) == 0 {
                return None;
            }
            let word = lost.swap(0, Ordering::Acquire);
            let size = PageSize::from_log2((word & BITS_MASK) as u8);
            PaRange::from_len(Pa::new(word & !size.mask()), size.bytes())
        })
    }

    /// Puts an empty page where `address` found none. Says whether it could. No locks, no allocation.
    fn mend(&self, address: usize) -> bool {
        let region = self.region.load(Ordering::Acquire);
        let size = 1 << (region & BITS_MASK);
        let Some(pa) = (address as u64).checked_sub(region & !BITS_MASK) else {
            return false;
        };
        if pa >= size {
            return false;
        }
        let Some(page) = self.slots.page(pa) else {
            return false;
        };
        let in_page = host_len(page.mask());
        let start = ptr::without_provenance_mut::<u8>(address & !in_page);
        // SAFETY: the slots say that a file is mapped at `pa`, so the page is the region's and not page-table memory; Rust
        // holds no references to it, and the thread that faulted is accessing it, so the region is not being dropped.
        if unsafe { place_anonymous(start, in_page + 1) }.is_err() {
            return false;
        }
        let pa = pa & !page.mask();
        self.slots.set_lost(pa);
        let word = pa | u64::from(page.log2());
        // When all places are taken, the page is lost without a report.
        self.lost.iter().any(|free| {
            free.compare_exchange(0, word, Ordering::Release, Ordering::Relaxed)
                .is_ok()
        });
        true
    }
}

fn all() -> impl Iterator<Item = &'static Watched> {
    std::iter::successors(FIRST.get().copied(), |entry| entry.next.get().copied())
}

/// What handled `SIGBUS` before.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Survive the truncation of a file that is mapped here: installs a handler of `SIGBUS` for the whole process.
///
/// A page that a device model accesses after the client has truncated the file becomes an empty page of our own, as the
/// kernel goes on with the page that it has pinned; a [`crate::Finding`] tells. All other `SIGBUS` go to whoever handled the
/// signal before. Without the handler such an access is fatal.
///
/// # Errors
/// The error of `sigaction(2)`.
pub fn install_sigbus_handler() -> io::Result<()> {
    let mut previous = MaybeUninit::uninit();
    // SAFETY: with no new action, `sigaction` only writes the old one.
    if unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), previous.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above succeeded, so it has written the action.
    let previous = unsafe { previous.assume_init() };
    if PREVIOUS.set(previous).is_err() {
        return Ok(());
    }
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_sigbus;
    // SAFETY: all zeroes is a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    // SAFETY: `on_sigbus` has the signature that `SA_SIGINFO` asks for, and calls only what a handler may call.
    if unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

extern "C" fn on_sigbus(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a valid `siginfo_t`.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr().addr()) };
    // Positive codes are faults; others are signals that somebody sent.
    if code > 0 && all().any(|watched| watched.mend(address)) {
        return;
    }
    let previous = PREVIOUS.get();
    match previous.map_or(libc::SIG_DFL, |previous| previous.sa_sigaction) {
        libc::SIG_IGN if code <= 0 => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: resetting to the default action is async-signal-safe. The fault repeats and is fatal, as it would have been.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                if code <= 0 {
                    libc::raise(signal);
                }
            }
        }
        handler if previous.is_some_and(|previous| previous.sa_flags & libc::SA_SIGINFO != 0) => {
            // SAFETY: with `SA_SIGINFO` the previous handler is a function of this type.
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: without `SA_SIGINFO` the previous handler is a function of this type.
            let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(handler) };
            handler(signal);
        }
    }
}
