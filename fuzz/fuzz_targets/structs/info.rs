//! `VFIO_IOMMU_GET_INFO` into buffers of any size that end where memory does.

use std::cell::OnceCell;
use std::sync::Arc;

use arbitrary::Arbitrary;
use swiommu_abi::Errno;
use swiommu_abi::option::IommufdVfioIoasOp;
use swiommu_abi::vfio::container::VFIO_IOMMU_GET_INFO;
use swiommu_addr::{Iova, IovaRange};
use swiommu_files::Arg;
use swiommu_selftest::client::{Buffer, Host, Process};

/// What bytes are that nobody writes.
const UNTOUCHED: u8 = 0xaa;
const PAGE: u64 = 4096;
/// Where the ranges are.
const RANGES: usize = 56;

#[derive(Arbitrary, Debug)]
pub struct Input {
    argsz: u8,
    large: bool,
    /// Reserved ranges: first IOVA and length.
    reserved: [Option<(u64, u64)>; 4],
}

thread_local! {
    /// What all inputs run on: they leave nothing behind.
    static MACHINE: OnceCell<(Arc<Process>, Buffer)> = const { OnceCell::new() };
}

pub fn check(input: &Input) {
    MACHINE.with(|machine| {
        let (process, memory) = machine.get_or_init(|| {
            let process = Host::new()
                .expect("address space")
                .process()
                .expect("a process");
            let memory = process.buffer(2 * PAGE).expect("memory");
            process.space().unmap(memory.range());
            let memory = process.buffer(PAGE).expect("memory");
            (process, memory)
        });
        run(process, memory, input);
    });
}

fn run(process: &Arc<Process>, memory: &Buffer, input: &Input) {
    let iommu = process.open().expect("a context");
    let ioas = iommu.ioas_alloc().expect("an IOAS");
    iommu
        .vfio_ioas(IommufdVfioIoasOp::SET, ioas)
        .expect("an IOAS for VFIO");
    for (start, len) in input.reserved.iter().flatten() {
        let _ = iommu.add_reserved(ioas, Iova::new(*start), *len);
    }
    let context = iommu.context().expect("a context");
    let ranges = context.iova_ranges(ioas).expect("an IOAS");

    let argsz = u64::from(input.argsz) + if input.large { 128 } else { 0 };
    let size = usize::try_from(argsz.max(16)).expect("a small number");
    let offset = PAGE - size as u64;
    memory
        .write(0, &[UNTOUCHED; PAGE as usize])
        .expect("memory");
    memory
        .write(
            offset,
            &u32::try_from(argsz).expect("a small number").to_ne_bytes(),
        )
        .expect("memory");
    let mut before = vec![0; size];
    memory.read(offset, &mut before).expect("memory");
    let result = iommu.ioctl_raw(VFIO_IOMMU_GET_INFO, Arg::from(memory.at(offset)));
    let mut after = vec![0; size];
    memory.read(offset, &mut after).expect("memory");

    if argsz < 16 {
        assert_eq!(
            result.map_err(|refusal| refusal.errno()),
            Err(Errno::EINVAL)
        );
        assert_eq!(after, before);
    } else {
        assert_eq!(result.map_err(|refusal| refusal.errno()), Ok(0));
        assert_eq!(after, expected(before, &ranges));
    }
}

/// The buffer as it should be: written from the start of the struct to where it ends.
fn expected(mut buffer: Vec<u8>, ranges: &[IovaRange]) -> Vec<u8> {
    let argsz = buffer.len();
    let total = RANGES + 16 * ranges.len();
    let mut put = |at: usize, value: &[u8]| {
        for (n, byte) in value.iter().enumerate() {
            if let Some(to) = buffer.get_mut(at + n) {
                *to = *byte;
            }
        }
    };
    let word = |value: usize| u32::try_from(value).expect("a small number").to_ne_bytes();
    put(0, &word(total));
    put(4, &word(3));
    put(8, &0xffff_ffff_ffff_f000_u64.to_ne_bytes());
    put(16, &word(if argsz >= total { 24 } else { 0 }));
    put(20, &word(0));
    if argsz >= 36 {
        put(24, &[3, 0, 1, 0]);
        put(28, &word(if argsz >= 40 { 40 } else { 0 }));
        put(32, &[0xff; 4]);
    }
    for (n, range) in ranges.iter().enumerate() {
        let at = RANGES + 16 * n;
        if argsz >= at + 16 {
            put(at, &range.start().get().to_ne_bytes());
            put(at + 8, &range.last().get().to_ne_bytes());
        }
    }
    if argsz >= total {
        put(40, &[1, 0, 1, 0]);
        put(44, &word(0));
        put(48, &word(ranges.len()));
        put(52, &word(0));
    }
    buffer
}
