use super::*;

/// The arguments of a system call, as the filter sees them.
#[derive(Clone, Copy)]
struct Call {
    number: libc::c_long,
    arch: u32,
    args: [u64; 6],
}

fn call(number: libc::c_long, args: [u64; 6]) -> Call {
    Call {
        number,
        arch: ARCH_X86_64,
        args,
    }
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
const ALWAYS: u32 = libc::BPF_JMP | libc::BPF_JA;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;

/// An interpreter of the instructions that seccomp accepts, as far as the assembler emits them.
fn evaluate(program: &[libc::sock_filter], call: Call) -> u32 {
    let word = |offset: u32| match offset {
        0 => number(call.number),
        4 => call.arch,
        _ => {
            let argument = call.args[(offset as usize - 16) / 8];
            let half = (argument >> (8 * (offset & 4))) & u64::from(u32::MAX);
            u32::try_from(half).expect("it is masked")
        }
    };
    let (mut accumulator, mut at) = (0u32, 0);
    loop {
        let instruction = program[at];
        at += 1;
        let code = u32::from(instruction.code);
        let k = instruction.k;
        let jump = |taken: bool| {
            usize::from(if taken {
                instruction.jt
            } else {
                instruction.jf
            })
        };
        match code {
            LOAD => accumulator = word(k),
            AND => accumulator &= k,
            RETURN => return k,
            ALWAYS => at += k as usize,
            EQUAL => at += jump(accumulator == k),
            AT_LEAST => at += jump(accumulator >= k),
            ANY_BIT => at += jump(accumulator & k != 0),
            _ => panic!("unknown instruction {code:#x}"),
        }
    }
}

fn trapped(watch: MemoryWatch, call: Call) -> bool {
    match evaluate(&program(watch), call) {
        libc::SECCOMP_RET_ALLOW => false,
        libc::SECCOMP_RET_USER_NOTIF => true,
        other => panic!("unexpected action {other:#x}"),
    }
}

fn trapped_unwatched(call: Call) -> bool {
    trapped(MemoryWatch::Off, call)
}

#[test]
fn other_architectures_and_x32_pass() {
    let foreign = Call {
        arch: 0x4000_0003,
        ..call(libc::SYS_openat, [0; 6])
    };
    assert!(!trapped_unwatched(foreign));
    assert!(!trapped_unwatched(call(
        libc::SYS_openat | 0x4000_0000,
        [0; 6]
    )));
    assert!(trapped_unwatched(call(libc::SYS_openat, [0; 6])));
}

#[test]
fn ioctls_are_trapped_by_request() {
    let ioctl = |request: u64| call(libc::SYS_ioctl, [3, request, 0, 0, 0, 0]);
    for request in [0x3b64, 0x3b70, 0x3b80, 0x3b95, 0x3ba0] {
        assert!(trapped_unwatched(ioctl(request)), "{request:#x}");
        assert!(
            trapped_unwatched(ioctl(request | 0xc018_0000)),
            "{request:#x} with size and direction"
        );
        assert!(
            trapped_unwatched(ioctl(request | 0xdead_0000_0000)),
            "the kernel ignores the high half"
        );
    }
    for request in [0x5401, 0x3b63, 0x3ba1, 0x3a80, 0x3c80, 0] {
        assert!(!trapped_unwatched(ioctl(request)), "{request:#x}");
    }
}

#[test]
fn transfers_are_trapped_on_the_event_range_only() {
    for number in [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_pread64,
        libc::SYS_pwrite64,
        libc::SYS_preadv,
        libc::SYS_pwritev,
        libc::SYS_preadv2,
        libc::SYS_pwritev2,
    ] {
        let on = |fd: u64| trapped_unwatched(call(number, [fd, 0, 0, 0, 0, 0]));
        assert!(on(960) && on(1000) && on(1023), "{number}");
        assert!(
            !on(0) && !on(959) && !on(1024) && !on(u64::from(u32::MAX)),
            "{number}"
        );
    }
}

#[test]
fn mappings_of_files_are_trapped() {
    let with = |protection: i32, flags: i32, fd: i32| {
        let [protection, flags, fd] = [protection, flags, fd].map(i32::cast_unsigned);
        call(
            libc::SYS_mmap,
            [0, 4096, protection.into(), flags.into(), fd.into(), 0],
        )
    };
    let mmap = |flags: i32, fd: i32| with(libc::PROT_READ, flags, fd);
    let private = |flags: i32, fd: i32| {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        with(protection, libc::MAP_PRIVATE | flags, fd)
    };
    assert!(trapped_unwatched(private(0, 3)));
    assert!(trapped_unwatched(private(libc::MAP_FIXED, 3)));
    assert!(!trapped_unwatched(private(libc::MAP_DENYWRITE, 3)));
    assert!(!trapped_unwatched(private(libc::MAP_ANONYMOUS, 3)));
    assert!(!trapped_unwatched(private(0, -1)));
    assert!(trapped_unwatched(mmap(libc::MAP_SHARED, 3)));
    assert!(trapped_unwatched(mmap(libc::MAP_SHARED_VALIDATE, 3)));
    assert!(trapped_unwatched(mmap(
        libc::MAP_SHARED | libc::MAP_FIXED,
        3
    )));
    assert!(!trapped_unwatched(mmap(libc::MAP_PRIVATE, 3)));
    assert!(!trapped_unwatched(mmap(
        libc::MAP_SHARED | libc::MAP_ANONYMOUS,
        3
    )));
    assert!(!trapped_unwatched(mmap(libc::MAP_SHARED, -1)));
    assert!(!trapped_unwatched(mmap(
        libc::MAP_PRIVATE | libc::MAP_FIXED,
        3
    )));
}

#[test]
fn the_watch_adds_what_drops_memory() {
    let private_fixed =
        u64::from((libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_ANONYMOUS).cast_unsigned());
    let watched = [
        call(libc::SYS_munmap, [0; 6]),
        call(libc::SYS_mremap, [0; 6]),
        call(libc::SYS_shmdt, [0; 6]),
        call(libc::SYS_brk, [0x1000, 0, 0, 0, 0, 0]),
        call(libc::SYS_brk, [0x1_0000_0000, 0, 0, 0, 0, 0]),
        call(libc::SYS_madvise, [0, 0, 4, 0, 0, 0]),
        call(libc::SYS_madvise, [0, 0, 9, 0, 0, 0]),
        call(libc::SYS_madvise, [0, 0, 102, 0, 0, 0]),
        call(libc::SYS_mmap, [0, 4096, 3, private_fixed, u64::MAX, 0]),
    ];
    for call in watched {
        assert!(trapped(MemoryWatch::On, call), "{}", call.number);
        assert!(!trapped_unwatched(call), "{}", call.number);
    }
    let never = [
        call(libc::SYS_brk, [0; 6]),
        call(libc::SYS_madvise, [0, 0, 3, 0, 0, 0]),
        call(libc::SYS_madvise, [0, 0, 14, 0, 0, 0]),
        call(libc::SYS_mmap, [0, 4096, 3, 0x22, u64::MAX, 0]),
    ];
    for call in never {
        assert!(!trapped(MemoryWatch::On, call), "{}", call.number);
    }
}

#[test]
fn calls_of_no_interest_pass_whatever_their_arguments() {
    for number in [
        libc::SYS_close,
        libc::SYS_dup2,
        libc::SYS_poll,
        libc::SYS_getpid,
        libc::SYS_clone3,
        libc::SYS_rt_sigreturn,
        libc::SYS_futex,
        451,
        4000,
    ] {
        assert!(
            !trapped(MemoryWatch::On, call(number, [u64::MAX; 6])),
            "{number}"
        );
    }
}

#[test]
fn a_branch_longer_than_a_conditional_jump_is_bridged() {
    let mut long = Decision::Do(Action::Notify);
    for bit in 0..300 {
        long = Decision::when(Test::Equal(1000 + bit), Decision::Do(Action::Allow), long);
    }
    let program = Decision::when(Test::AtLeast(500), long, Decision::Do(Action::Allow))
        .of(Word::NUMBER)
        .assemble();
    let run = |number| evaluate(&program, call(number, [0; 6]));
    assert_eq!(run(10), libc::SECCOMP_RET_ALLOW);
    assert_eq!(run(1000), libc::SECCOMP_RET_ALLOW);
    assert_eq!(run(1299), libc::SECCOMP_RET_ALLOW);
    assert_eq!(run(1300), libc::SECCOMP_RET_USER_NOTIF);
}

#[test]
fn a_search_finds_each_case_and_nothing_else() {
    let looks = Decision::within(7, 9, Decision::Do(Action::Notify)).of(Word::argument(0));
    let cases = [
        (0, Decision::Do(Action::Notify)),
        (2, looks.clone()),
        (3, looks.clone()),
        (4, Decision::Do(Action::Notify)),
        (9, looks),
        (400, Decision::Do(Action::Notify)),
    ];
    let program = Decision::search(&cases).of(Word::NUMBER).assemble();
    for first in [7, 10] {
        for number in 0..500 {
            let action = evaluate(&program, call(number, [first, 0, 0, 0, 0, 0]));
            let expected = match number {
                0 | 4 | 400 => true,
                2 | 3 | 9 => first == 7,
                _ => false,
            };
            assert_eq!(
                action == libc::SECCOMP_RET_USER_NOTIF,
                expected,
                "{number}, {first}"
            );
        }
    }
}
