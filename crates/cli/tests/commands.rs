//! The command line, used as a person would.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn swiommu(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_swiommu"));
    command.args(arguments).output().unwrap()
}

/// The client of `swiommu try`, under `swiommu run` with these options.
fn run_client(options: &[&str]) -> Output {
    let client = ["--", env!("CARGO_BIN_EXE_swiommu"), "try-client"];
    swiommu(&[&["run"], options, &client].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_diagram_is_written_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    for (name, expected) in [
        ("a.txt", "│ HWPT_NESTED "),
        ("a.dot", "label = \"HWPT_NESTED "),
        ("a.svg", ">HWPT_NESTED "),
    ] {
        let path = directory.path().join(name);
        let run = run_client(&["--diagram", path.to_str().unwrap()]);
        assert!(run.status.success(), "{run:?}");
        let drawn = fs::read_to_string(path).unwrap();
        assert!(drawn.contains(expected), "{drawn}");
    }
    let unknown = run_client(&["--diagram", "a.png"]);
    assert_eq!(unknown.status.code(), Some(125));
    assert!(text(&unknown.stderr).contains("svg"), "{unknown:?}");
    assert!(!Path::new("a.png").exists());
}

#[test]
fn the_tour_shows_a_stale_translation_and_the_walk_behind_it() {
    let tour = swiommu(&["try"]);
    assert!(tour.status.success(), "{tour:?}");
    let shown = text(&tour.stdout);
    let in_order = [
        "VFIO_DEVICE_ATTACH_IOMMUFD_PT(",
        "The device reads \"first\" by DMA.",
        "first stage, level 3: 0x0000000000101067 at GPA 0x100000",
        "first stage, level 0: 0x0000000000108067 at GPA 0x103028",
        "through the second stage: 3:0x",
        "leads to PA 0x",
        "The device still reads \"first\"",
        "first stage, level 0: 0x0000000000109067 at GPA 0x103028",
        "IOMMU_HWPT_INVALIDATE(",
        "The device reads \"later\" by DMA.",
        "VFIO_DEVICE_DETACH_IOMMUFD_PT(",
    ];
    let mut rest = shown.as_str();
    for expected in in_order {
        let Some((_, after)) = rest.split_once(expected) else {
            panic!("no {expected:?} where it should be:\n{shown}");
        };
        rest = after;
    }
}

#[test]
fn the_nth_step_of_a_run_fails_and_is_named() {
    let first = run_client(&["--fail-nth", "1"]);
    assert!(!first.status.success());
    let said = text(&first.stderr);
    assert!(said.contains("was made to fail"), "{said}");
    let none = run_client(&["--fail-nth", "1000000"]);
    assert!(none.status.success(), "{none:?}");
    let said = text(&none.stderr);
    assert!(said.contains("nothing failed"), "{said}");
    assert_eq!(
        swiommu(&["run", "--fail-nth", "0", "--", "true"])
            .status
            .code(),
        Some(125)
    );
}

/// A program that holds /dev/iommu open until it is told to end.
struct Holder(Child);

impl Holder {
    fn start() -> Self {
        let script = "exec 3<>/dev/iommu && echo open && read end";
        let mut run = Command::new(env!("CARGO_BIN_EXE_swiommu"))
            .args(["run", "--", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let said = run.stdout.take().unwrap();
        BufReader::new(said).read_line(&mut line).unwrap();
        assert_eq!(line, "open\n");
        Self(run)
    }

    fn end(mut self) {
        writeln!(self.0.stdin.take().unwrap()).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

#[test]
fn a_running_program_shows_its_objects() {
    let holder = Holder::start();
    let pid = holder.0.id().to_string();
    let shown = swiommu(&["show", &pid]);
    assert!(shown.status.success(), "{shown:?}");
    let drawn = text(&shown.stdout);
    assert!(
        drawn.starts_with("context 1, opened by process "),
        "{drawn}"
    );
    assert!(drawn.contains(": 0 objects"), "{drawn}");

    let (_, opener) = drawn.split_once("process ").unwrap();
    let (program, _) = opener.split_once(':').unwrap();
    let by_program = swiommu(&["show", program, "--format", "dot"]);
    assert!(
        text(&by_program.stdout).starts_with("digraph"),
        "{by_program:?}"
    );
    holder.end();
    let over = swiommu(&["show", &pid]);
    assert_eq!(over.status.code(), Some(125));
}
