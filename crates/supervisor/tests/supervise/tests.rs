//! The tests.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::harness::{Run, Running, Test, own_path};
use crate::terminal::Terminal;

pub(crate) const ALL: &[Test] = &[
    ("a_file_is_opened_called_and_released", thin),
    ("a_duplicate_is_the_same_file", || client("dup", &[])),
    ("a_child_shares_its_parents_files", || client("fork", &[])),
    ("no_release_is_late", no_release_is_late),
    ("a_file_is_passed_over_a_socket", || client("passing", &[])),
    ("a_mapping_holds_its_file", || client("mapping-holds", &[])),
    ("exec_keeps_what_is_not_close_on_exec", || {
        client("exec", &[]);
    }),
    (
        "what_is_left_open_is_released",
        what_is_left_open_is_released,
    ),
    ("a_path_has_many_spellings", || client("names", &[])),
    ("open_flags_mean_what_they_mean_for_a_device", || {
        client("open-flags", &[]);
    }),
    ("openat2_is_open", || client("openat2", &[])),
    ("attributes_are_those_of_a_device", || {
        client("attributes", &[]);
    }),
    ("directories_of_ours_can_be_read", || {
        client("directories", &[]);
    }),
    ("links_of_proc_show_served_files", || client("links", &[])),
    ("a_text_is_a_file", || client("text", &[])),
    ("other_calls_are_native", || client("native", &[])),
    (
        "paths_start_at_the_clients_root",
        paths_start_at_the_clients_root,
    ),
    ("a_mapping_is_vetted", || client("mmap", &[])),
    ("memory_that_is_given_back_is_watched", memory_watch),
    ("event_files_are_read_and_written", || client("events", &[])),
    ("event_files_stay_below_the_limit", || {
        client("events-limit", &[]);
    }),
    ("a_thread_chooses_which_step_fails", || {
        Run::client("fail-nth", &[])
            .env("FAIL_NTH", "by thread")
            .end()
            .assert_clean();
    }),
    ("without_fault_injection_there_is_no_fail_nth", || {
        client("fail-nth-absent", &[]);
    }),
    ("one_step_of_a_run_fails", || {
        Run::client("fail-one", &[])
            .env("FAIL_NTH", "5")
            .end()
            .assert_clean();
    }),
    ("poll_tells_of_events", || client("poll", &[])),
    ("a_blocked_thread_is_woken_by_an_event", || {
        client("woken", &[]);
    }),
    ("epoll_tells_of_levels_and_edges", || {
        client("epoll", &[]);
    }),
    ("select_tells_of_events", || client("select", &[])),
    ("a_child_shares_its_parents_readiness", || {
        client("shared-readiness", &[]);
    }),
    ("a_queue_is_released_by_its_last_close", || {
        client("queue-released", &[]);
    }),
    ("files_are_installed", || client("install", &[])),
    ("descriptors_are_told_apart", || client("descriptors", &[])),
    ("exit_codes_are_the_programs", exit_codes_are_the_programs),
    (
        "failures_to_start_have_their_codes",
        failures_to_start_have_their_codes,
    ),
    ("one_supervisor_a_process", || client("nested", &[])),
    ("signals_are_passed_on", signals_are_passed_on),
    (
        "the_terminal_interrupts_the_program_only",
        the_terminal_interrupts_the_program_only,
    ),
    (
        "job_control_stops_the_supervisor_too",
        job_control_stops_the_supervisor_too,
    ),
    ("threads_call_at_once", || client("threads", &["400"])),
    ("a_long_call_delays_no_other", || client("long-calls", &[])),
    ("programs_spawn_programs", || client("spawn", &[])),
    (
        "orphans_are_served_to_their_end",
        orphans_are_served_to_their_end,
    ),
    (
        "capabilities_follow_the_policy",
        capabilities_follow_the_policy,
    ),
    (
        "the_tree_dies_with_its_supervisor",
        the_tree_dies_with_its_supervisor,
    ),
    (
        "the_tree_dies_with_its_guardian",
        the_tree_dies_with_its_guardian,
    ),
    ("a_stubborn_tree_dies_too", a_stubborn_tree_dies_too),
    ("a_struct_may_go_away", || client("unmap-mid-call", &[])),
    ("pointers_may_be_wild", || client("wild-pointers", &[])),
    ("clients_may_die_in_calls", || client("die-in-calls", &[])),
    ("clients_may_fork_in_a_storm", || client("fork-storm", &[])),
    ("clients_may_exec_in_a_storm", || client("exec-storm", &[])),
    ("a_fault_of_a_file_is_contained", || client("panic", &[])),
    ("nothing_is_left_of_what_is_killed", || {
        client("chaos", &["200"]);
    }),
    (
        "nothing_is_left_when_all_is_killed",
        nothing_is_left_when_all_is_killed,
    ),
    (
        "the_memory_of_processes_is_found",
        the_memory_of_processes_is_found,
    ),
    ("nobody_can_be_supervised", nobody_can_be_supervised),
];

/// The client sees what it should, and nothing is left behind.
fn client(name: &str, arguments: &[&str]) {
    Run::client(name, arguments).end().assert_clean();
}

fn thin() {
    let report = Run::client("thin", &[]).end().assert_clean();
    assert_eq!(report.opened, 2);
}

fn no_release_is_late() {
    let report = Run::client("cycles", &["10000"]).end().assert_clean();
    assert!(report.opened >= 10000, "{report:?}");
}

fn what_is_left_open_is_released() {
    let report = Run::client("leave-open", &[]).end().assert_clean();
    assert_eq!(report.opened, 50);
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// An empty directory of this test run.
fn temporary(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("swiommu-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).expect("it is created");
    path
}

fn paths_start_at_the_clients_root() {
    if !is_root() {
        return;
    }
    let root = temporary("root");
    fs::create_dir(root.join("dev")).expect("it is created");
    fs::create_dir(root.join("other")).expect("it is created");
    symlink("/dev", root.join("link")).expect("it is created");
    client("chroot", &[root.to_str().expect("text")]);
    fs::remove_dir_all(&root).expect("it is removed");
}

fn memory_watch() {
    client("gives-back", &["watched"]);
    let unwatched = Run::client("gives-back", &["unwatched"]).env("UNWATCHED", "1");
    unwatched.end().assert_clean();
}

fn exit_codes_are_the_programs() {
    for code in [0, 1, 77, 125, 255] {
        let ended = Run::client("exit", &[&code.to_string()]).end();
        assert_eq!(ended.code, Some(code), "{ended:?}");
        ended.assert_nothing_left();
    }
    // The signals that the supervisor takes or ignores are the program's as if there were no supervisor.
    for signal in ["PIPE", "TERM", "USR1"] {
        let ended = Run::program(&["/bin/sh", "-c", &format!("kill -{signal} $$; exit 1")]).end();
        assert!(ended.code > Some(128), "{signal}: {ended:?}");
    }
    for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGSEGV, libc::SIGPIPE] {
        let ended = Run::client("die", &[&signal.to_string()]).end();
        assert_eq!(ended.code, Some(128 + signal), "{ended:?}");
        ended.assert_nothing_left();
    }
}

fn failures_to_start_have_their_codes() {
    let directory = temporary("start");
    let path = |name: &str| directory.join(name).to_str().expect("text").to_owned();
    fs::write(path("data"), "no program").expect("it is written");
    fs::write(path("garbage"), "\x7fELF").expect("it is written");
    fs::set_permissions(path("garbage"), fs::Permissions::from_mode(0o755)).expect("it is ours");
    for (program, code) in [
        ("/nonexistent".to_owned(), 127),
        ("swiommu-nonexistent".to_owned(), 127),
        (String::new(), 127),
        (path("data/below"), 127),
        (path("data"), 126),
        (path("garbage"), 126),
        (path(""), 126),
    ] {
        let ended = Run::program(&[&program]).env("PATH", "/usr/bin:/bin").end();
        assert_eq!(ended.code, Some(code), "{program}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{program}: {ended:?}");
        ended.assert_nothing_left();
    }
    // A name is looked up in PATH, and one that cannot be executed does not hide another.
    let own = own_path();
    fs::create_dir(path("hidden")).expect("it is created");
    fs::write(path("hidden/own"), "no program").expect("it is written");
    symlink(&own, path("own")).expect("it is created");
    let search = format!("{}:{}", path("hidden"), path(""));
    let ended = Run::program(&["own", crate::harness::CLIENT, "exit", "9"])
        .env("PATH", &search)
        .end();
    assert_eq!(ended.code, Some(9), "{ended:?}");
    fs::remove_dir_all(&directory).expect("it is removed");
}

/// The next line of the client.
fn line(running: &mut Running) -> String {
    let out = running.child.stdout.as_mut().expect("it is piped");
    let mut line = String::new();
    let mut byte = [0];
    while out.read(&mut byte).expect("it is readable") == 1 && byte != *b"\n" {
        line.push(char::from(byte[0]));
    }
    line
}

#[expect(unsafe_code, reason = "kill(2)")]
fn kill(pid: i32, signal: i32) {
    // SAFETY: it touches no memory.
    let killed = unsafe { libc::kill(pid, signal) };
    assert_eq!(killed, 0, "{pid} is there");
}

/// The fields of `/proc/PID/stat` from the state on; `None` when there is no such process.
fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(") ")?;
    Some(after.split(' ').map(str::to_owned).collect())
}

/// Waits until the process has ended, reaped or not.
fn assert_ends(pid: i32) {
    eventually("the process ends", || {
        stat(pid).is_none_or(|stat| stat[0] == "Z")
    });
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("not so: {what}");
}

fn signals_are_passed_on() {
    let mut running = Run::client("signals", &[]).start();
    let supervisor = running.child.id().cast_signed();
    assert_eq!(line(&mut running), "ready");
    for signal in [
        libc::SIGUSR1,
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGWINCH,
        libc::SIGUSR2,
    ] {
        kill(supervisor, signal);
        assert_eq!(line(&mut running), signal.to_string());
    }
    kill(supervisor, libc::SIGTERM);
    running.end().assert_clean();
}

fn the_terminal_interrupts_the_program_only() {
    let terminal = Terminal::new();
    let mut running = Run::client("interrupted", &[]).on(&terminal).start();
    assert_eq!(line(&mut running), "ready");
    terminal.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(1), "it is interrupted once: {ended:?}");
    ended.assert_nothing_left();
}

fn job_control_stops_the_supervisor_too() {
    let mut running = Run::client("stop", &[]).start();
    let supervisor = running.child.id().cast_signed();
    assert_eq!(line(&mut running), "stopping");
    eventually("the supervisor stops", || {
        stat(supervisor).is_some_and(|stat| stat[0] == "T")
    });
    kill(-supervisor, libc::SIGCONT);
    running.end().assert_clean();
}

fn orphans_are_served_to_their_end() {
    let ended = Run::client("orphan", &["finite"]).end();
    ended.assert_clean();
    assert_eq!(ended.stdout, "orphan\n");
    // A signal that asks for the end reaches the orphans when nobody else is left.
    let mut running = Run::client("orphan", &["endless"]).start();
    assert_eq!(line(&mut running), "orphan");
    kill(running.child.id().cast_signed(), libc::SIGTERM);
    running.end().assert_clean();
}

fn capabilities_follow_the_policy() {
    let status = fs::read_to_string("/proc/self/status").expect("it exists");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = u64::from_str_radix(effective.expect("a line").trim(), 16).expect("a set");
    let sys_resource = (effective >> 24) & 1;
    client("capable", &[&sys_resource.to_string()]);
    Run::client("capable", &["1"])
        .env("GRANT", "1")
        .end()
        .assert_clean();
}

/// The first process and its child, of which the client tells.
fn processes(running: &mut Running) -> Vec<i32> {
    let line = line(running);
    line.split(' ')
        .map(|pid| pid.parse().expect("a number"))
        .collect()
}

fn the_tree_dies_with_its_supervisor() {
    let mut running = Run::client("wait", &[]).start();
    let processes = processes(&mut running);
    kill(running.child.id().cast_signed(), libc::SIGKILL);
    for pid in processes {
        assert_ends(pid);
    }
    assert_eq!(running.end().signal, Some(libc::SIGKILL));
}

/// The parent of a process.
fn parent(pid: i32) -> i32 {
    let stat = stat(pid).expect("it runs");
    stat[1].parse().expect("a number")
}

fn the_tree_dies_with_its_guardian() {
    let mut running = Run::client("wait", &[]).start();
    let processes = processes(&mut running);
    kill(parent(processes[0]), libc::SIGKILL);
    for pid in processes {
        assert_ends(pid);
    }
    let ended = running.end();
    assert_eq!(ended.code, Some(125), "{ended:?}");
    ended.assert_nothing_left();
}

fn a_stubborn_tree_dies_too() {
    let mut running = Run::client("stubborn", &[]).start();
    assert_eq!(line(&mut running), "ready");
    let supervisor = running.child.id().cast_signed();
    let guardian = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children"));
    let guardian = guardian
        .expect("it runs")
        .trim()
        .parse()
        .expect("one child");
    kill(supervisor, libc::SIGKILL);
    // The guardian ends when nothing is left.
    assert_ends(guardian);
    running.end();
}

fn nothing_is_left_when_all_is_killed() {
    for round in 0..20u64 {
        let running = Run::client("chaos", &["1000000"]).start();
        thread::sleep(Duration::from_millis(20 + round * 7));
        let supervisor = running.child.id();
        let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children"));
        let guardian: i32 = children
            .expect("it runs")
            .trim()
            .parse()
            .expect("one child");
        kill(supervisor.cast_signed(), libc::SIGKILL);
        assert_ends(guardian);
        running.end();
    }
}

/// The clients that exec, fork and die, with the address spaces of `swiommu-mem`.
fn the_memory_of_processes_is_found() {
    for (client, argument) in [
        ("thin", ""),
        ("fork", ""),
        ("exec", ""),
        ("spawn", ""),
        ("cycles", "400"),
        ("threads", "100"),
        ("unmap-mid-call", ""),
        ("wild-pointers", ""),
        ("die-in-calls", ""),
        ("fork-storm", ""),
        ("exec-storm", ""),
        ("chaos", "100"),
    ] {
        let run = Run::client(client, &[argument]).env("REAL_MEMORY", "1");
        run.end().assert_clean();
    }
}

/// A user without any capability can be supervised, and can supervise.
fn nobody_can_be_supervised() {
    const NOBODY: u32 = 65534;
    if !is_root() {
        return;
    }
    let directory = temporary("nobody");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let copy = directory.join("supervise");
    fs::copy(own_path(), &copy).expect("it is copied");
    chown(&directory, Some(NOBODY), Some(NOBODY)).expect("we may");
    let program = copy.to_str().expect("text");
    for (client, argument) in [
        ("thin", ""),
        ("names", ""),
        ("links", ""),
        ("attributes", ""),
        ("directories", ""),
        ("fork", ""),
        ("passing", ""),
        ("cycles", "200"),
        ("descriptors", ""),
        ("events", ""),
        ("poll", ""),
        ("woken", ""),
        ("queue-released", ""),
        ("mmap", ""),
        ("capable", "0"),
    ] {
        let run = Run::program(&[program, crate::harness::CLIENT, client, argument]);
        let report = directory.join("report");
        let ended = run.by_user(program, NOBODY, &report).end();
        ended.assert_clean();
    }
    fs::remove_dir_all(&directory).expect("it is removed");
}
