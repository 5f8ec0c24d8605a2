//! rust-vmm's virtqueue, unchanged, behind an IOMMU: its rings, descriptors and buffers are in the IOVA space of a nested domain.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::guest::{Guest, PAGE, WRITABLE};
use swiommu_addr::{Address, Iova};
use swiommu_iommu::{DmaError, DmaPort, DmaSession, Pasid};
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemory, GuestMemoryError, Permissions};

/// Descriptors in the queue.
const SIZE: u16 = 8;

/// The rings, each across the border of two pages as far as their alignment allows.
const DESCRIPTORS: Iova = Iova::new(10 * PAGE - 64);
const AVAILABLE: Iova = Iova::new(20 * PAGE - 6);
const USED: Iova = Iova::new(30 * PAGE - 8);

/// Flags of descriptors.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// A driver of the queue, in the guest.
struct Driver<'a> {
    guest: &'a Guest,
    available: u16,
}

impl Driver<'_> {
    fn descriptor(&self, table: Iova, index: u16, addr: u64, len: u32, flags: u16) {
        let at = table.wrapping_add(u64::from(index) * 16);
        let next = if flags & NEXT == 0 { 0 } else { index + 1 };
        self.guest.write(at, &addr.to_le_bytes());
        self.guest.write(at.wrapping_add(8), &len.to_le_bytes());
        self.guest.write(at.wrapping_add(12), &flags.to_le_bytes());
        self.guest.write(at.wrapping_add(14), &next.to_le_bytes());
    }

    fn offer(&mut self, head: u16) {
        let slot = u64::from(self.available % SIZE) * 2;
        let ring = AVAILABLE.wrapping_add(4 + slot);
        self.guest.write(ring, &head.to_le_bytes());
        self.available = self.available.wrapping_add(1);
        let index = AVAILABLE.wrapping_add(2);
        self.guest.write(index, &self.available.to_le_bytes());
    }

    /// How many were used, and the last: its head and the bytes written.
    fn used(&self) -> (u16, u32, u32) {
        let index = u16::from_le_bytes(self.guest.read(USED.wrapping_add(2)));
        let slot = u64::from(index.wrapping_sub(1) % SIZE) * 8;
        let element: [u8; 8] = self.guest.read(USED.wrapping_add(4 + slot));
        let (head, len) = element.split_at(4);
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        (index, word(head), word(len))
    }
}

/// The device: writes what it reads, in capitals. Nothing here knows of an IOMMU.
fn serve<M: GuestMemory>(queue: &mut Queue, memory: &M) -> Result<(), Box<dyn std::error::Error>> {
    let chains: Vec<_> = queue.iter(memory)?.collect();
    for chain in chains {
        let head = chain.head_index();
        let mut text = Vec::new();
        chain.clone().reader(memory)?.read_to_end(&mut text)?;
        let mut writer = chain.writer(memory)?;
        writer.write_all(&text.to_ascii_uppercase())?;
        let written = u32::try_from(writer.bytes_written())?;
        queue.add_used(memory, head, written)?;
    }
    Ok(())
}

fn queue() -> Queue {
    let mut queue = Queue::new(SIZE).unwrap();
    let low = |at: Iova| u32::try_from(at.get()).ok();
    queue.set_desc_table_address(low(DESCRIPTORS), Some(0));
    queue.set_avail_ring_address(low(AVAILABLE), Some(0));
    queue.set_used_ring_address(low(USED), Some(0));
    queue.set_ready(true);
    queue
}

fn text(len: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(len).collect()
}

#[test]
fn a_queue_runs_in_the_guests_iova_space() {
    let guest = Guest::new();
    guest.attach_nested(Pasid::NONE);
    let mut driver = Driver {
        guest: &guest,
        available: 0,
    };
    let mut port = guest.endpoint.dma_port(Pasid::NONE);
    let mut queue = queue();
    let (from, to) = (Iova::new(40 * PAGE - 100), Iova::new(50 * PAGE - 7));
    guest.write(from, &text(300));
    driver.descriptor(DESCRIPTORS, 3, from.get(), 300, NEXT);
    driver.descriptor(DESCRIPTORS, 4, to.get(), 300, WRITE);
    driver.offer(3);

    let session = port.session();
    assert!(queue.is_valid(&session));
    serve(&mut queue, &session).unwrap();
    assert!(session.fault().is_none());
    drop(session);
    assert_eq!(driver.used(), (1, 3, 300));
    assert_eq!(
        guest.read::<300>(to).to_vec(),
        text(300).to_ascii_uppercase()
    );

    // An indirect table, itself across two pages, with more pieces than the queue has room for.
    let table = Iova::new(44 * PAGE - 32);
    for index in 0..10 {
        driver.descriptor(table, index, from.get() + 20 * u64::from(index), 20, NEXT);
        driver.descriptor(
            table,
            index + 10,
            to.get() + 30 * u64::from(index),
            30,
            WRITE | NEXT,
        );
    }
    driver.descriptor(table, 19, to.get() + 270, 30, WRITE);
    driver.descriptor(DESCRIPTORS, 0, table.get(), 20 * 16, INDIRECT);
    driver.offer(0);
    guest.write(to, &[0; 300]);
    serve(&mut queue, &port.session()).unwrap();
    assert_eq!(driver.used(), (2, 0, 200));
    assert_eq!(
        guest.read::<200>(to).to_vec(),
        text(200).to_ascii_uppercase()
    );
    assert_eq!(guest.read::<100>(to.wrapping_add(200)), [0; 100]);
}

#[test]
fn what_is_not_mapped_is_an_error_with_a_reason() {
    let guest = Guest::new();
    guest.attach_nested(Pasid::NONE);
    let mut driver = Driver {
        guest: &guest,
        available: 0,
    };
    let mut port = guest.endpoint.dma_port(Pasid::NONE);
    guest.set_leaf(45, 0);
    let hostile = [
        (45 * PAGE - 5, 10),
        (100 * PAGE, 1),
        (1 << 47, 8),
        (u64::MAX, 1),
        (u64::MAX, 2),
        (0, u32::MAX),
    ];
    for (addr, len) in hostile {
        driver.descriptor(DESCRIPTORS, 0, addr, len, 0);
        driver.offer(0);
        let mut queue = queue();
        queue.set_next_avail(driver.available.wrapping_sub(1));
        let session = port.session();
        let refused = serve(&mut queue, &session);
        assert!(refused.is_err(), "{addr:#x}, {len} bytes");
        assert!(session.fault().is_some(), "{addr:#x}, {len} bytes");
    }
    let session = port.session();
    let error = session
        .read_obj::<u64>(GuestAddress(45 * PAGE - 4))
        .unwrap_err();
    assert!(matches!(
        error,
        GuestMemoryError::PartialBuffer { completed: 4, .. }
    ));
    let fault = session.fault().unwrap();
    assert!(
        matches!(fault, DmaError::Fault { iova, .. } if *iova == Iova::new(45 * PAGE)),
        "the session knows what vm-memory does not say: {fault}"
    );
    let error = session.read_obj::<u8>(GuestAddress(45 * PAGE)).unwrap_err();
    assert!(error.to_string().contains("(0x71)"), "{error}");
    assert!(!session.check_range(GuestAddress(44 * PAGE), 4097, Permissions::Read));
    assert!(session.check_range(GuestAddress(44 * PAGE), 4096, Permissions::Read));
}

#[test]
fn rings_in_memory_that_is_gone_are_an_error() {
    let guest = Guest::new();
    guest.attach_nested(Pasid::NONE);
    let mut driver = Driver {
        guest: &guest,
        available: 0,
    };
    driver.descriptor(DESCRIPTORS, 0, 40 * PAGE, 1, NEXT);
    driver.descriptor(DESCRIPTORS, 1, 41 * PAGE, 1, WRITE);
    driver.offer(0);
    let mut port = guest.endpoint.dma_port(Pasid::NONE);
    for ring in [DESCRIPTORS, AVAILABLE, USED] {
        let page = Guest::guest_page(ring.get() / PAGE);
        guest.unmap(page);
        let mut queue = queue();
        let session = port.session();
        assert!(!queue.is_valid(&session));
        let _served = serve(&mut queue, &session);
        assert!(session.fault().unwrap().to_string().contains("(0x79)"));
        drop(session);
        guest.map(&*guest.parent, page, page);
    }
    assert!(serve(&mut queue(), &port.session()).is_ok());
}

/// What a page permits is asked for with each access.
#[test]
fn a_page_to_be_read_is_not_written() {
    let guest = Guest::new();
    guest.attach_nested(Pasid::NONE);
    let at = GuestAddress(40 * PAGE);
    guest.set_leaf(40, Guest::leads_to(40, 0x65));
    let mut port = guest.endpoint.dma_port(Pasid::NONE);
    let session = port.session();
    assert!(session.read_obj::<u32>(at).is_ok());
    let error = session.write_obj(1_u32, at).unwrap_err();
    assert!(error.to_string().contains("(0x85)"), "{error}");
    assert!(!session.check_range(at, 4, Permissions::ReadWrite));
    assert!(!session.check_range(at, 4, Permissions::No));
    assert!(
        session
            .load::<u32>(GuestAddress(40 * PAGE + 1), Ordering::Acquire)
            .is_err()
    );
}

/// The slices of a session stay usable until it ends; the unmap returns after that, and nothing gets there any more.
#[test]
fn an_unmap_waits_for_the_session() {
    let guest = Guest::new();
    guest.attach_nested(Pasid::NONE);
    let page = 40;
    let at = Iova::new(page * PAGE);
    guest.write(at, b"mine");
    let mut port = guest.endpoint.dma_port(Pasid::NONE);
    let unmapped = AtomicBool::new(false);
    thread::scope(|scope| {
        let session = port.session();
        let slice = slice(&session, at);
        let unmapping = scope.spawn(|| {
            guest.unmap(Guest::guest_page(page));
            unmapped.store(true, Ordering::SeqCst);
        });
        // Until the session sees that the page is gone, and then some more, the unmap has to wait.
        for _ in 0..10_000 {
            if session.read_obj::<u8>(GuestAddress(at.get())).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        assert!(session.fault().is_some(), "the unmap has begun");
        for _ in 0..1000 {
            thread::yield_now();
        }
        assert!(!unmapped.load(Ordering::SeqCst), "it waits");
        slice.write_slice(b"last", 0).unwrap();
        drop(session);
        unmapping.join().unwrap();
    });
    assert_eq!(guest.read::<4>(at), *b"last");
    let session = port.session();
    assert!(
        session
            .write_slice(b"late", GuestAddress(at.get()))
            .is_err()
    );
    assert_eq!(guest.read::<4>(at), *b"last");
}

fn slice<'a>(session: &'a DmaSession<'_>, at: Iova) -> vm_memory::VolatileSlice<'a> {
    let mut slices = session
        .get_slices(GuestAddress(at.get()), 4, Permissions::ReadWrite)
        .unwrap();
    slices.next().unwrap().unwrap()
}

/// How a device goes on after a page that was not there.
#[test]
fn a_page_is_asked_for_between_sessions() {
    let guest = Guest::new();
    guest.attach_nested(Pasid::NONE);
    guest.set_leaf(40, 0);
    let at = GuestAddress(40 * PAGE);
    let in_handler = guest.clone();
    let mut port: DmaPort =
        guest
            .endpoint
            .dma_port(Pasid::NONE)
            .asking(Box::new(move |iova, _| {
                let page = iova.get() / PAGE;
                in_handler.set_leaf(page, Guest::leads_to(page, WRITABLE));
                true
            }));
    guest.write(Iova::new(at.0), b"here");
    let session = port.session();
    assert!(session.read_obj::<u32>(at).is_err());
    let Some(DmaError::Fault { iova, wanted, .. }) = session.fault().cloned() else {
        panic!("no fault");
    };
    drop(session);
    port.access(iova, 1, wanted, |_| ()).unwrap();
    let value = port.session().read_obj::<u32>(at).unwrap();
    assert_eq!(value.to_le_bytes(), *b"here");
}
