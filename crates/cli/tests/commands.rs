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

#[test]
fn a_program_finds_its_devices() {
    let script = "ls /dev/vfio/devices && test -c /dev/vfio/devices/vfio1 && exec 3<>/dev/vfio/devices/vfio1 \
                  && readlink /proc/self/fd/3";
    let run = swiommu(&[
        "run", "--iommu", "vtd", "--iommu", "smmuv3", "--", "sh", "-c", script,
    ]);
    assert!(run.status.success(), "{run:?}");
    assert_eq!(text(&run.stdout), "vfio0\nvfio1\n/dev/vfio/devices/vfio1\n");
}

#[test]
fn a_machine_is_told_as_it_is() {
    let told = swiommu(&["machine"]);
    assert!(told.status.success(), "{told:?}");
    let told = text(&told.stdout);
    for line in [
        "iommu0: Intel VT-d in scalable mode\n",
        "  vtd:aw=48,caches=legal-maximum,erratum-772415=on\n",
        "/dev/vfio/devices/vfio0: dma at 0000:01:00.0, behind iommu0, group 0\n",
        "  0xfee00000..=0xfeefffff is reserved: the hardware takes interrupts there\n",
    ] {
        assert!(told.contains(line), "{line}{told}");
    }
    assert!(!told.contains("vfio1"), "{told}");
}

#[test]
fn a_machine_can_be_kept_in_a_file() {
    let options = [
        "--iommu",
        "vtd:name=host,aw=57,caches=small=8",
        "--iommu",
        "smmuv3:ats=off",
        "--device",
        "dma:unit=host,at=3b:00.0,group=7",
        "--device",
        "dma:unit=iommu1",
    ];
    let by_options = swiommu(&[&["machine"][..], &options].concat());
    let file = swiommu(&[&["machine", "--toml"][..], &options].concat());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lab.toml");
    fs::write(&path, &file.stdout).unwrap();
    let by_file = swiommu(&["machine", "--machine", path.to_str().unwrap()]);
    assert!(by_file.status.success(), "{by_file:?}");
    assert_eq!(text(&by_file.stdout), text(&by_options.stdout));

    fs::write(&path, "[[iommu]]\nkind = \"vtd\"\naw = 50\n").unwrap();
    let wrong = swiommu(&["run", "--machine", path.to_str().unwrap(), "--", "true"]);
    assert_eq!(wrong.status.code(), Some(125));
    let said = text(&wrong.stderr);
    let place = "lab.toml: line 3, column 6: `aw` cannot be `50`: it is 39, 48 or 57";
    assert!(said.contains(place), "{said}");
}

#[test]
fn options_that_mean_no_machine_say_why() {
    for (options, reason) in [
        (&["--iommu", "amd"][..], "there are `vtd`, `smmuv3`, `mock`"),
        (&["--iommu", "vtd:aw=50"], "it is 39, 48 or 57"),
        (&["--device", "dma:unit=x"], "there are `iommu0`"),
        (&["--device", "nvme"], "there are `dma`"),
        (&["--machine", "/nonexistent"], "cannot read /nonexistent"),
        (
            &["--machine", "x", "--iommu", "vtd"],
            "cannot be used with '--iommu",
        ),
    ] {
        let run = swiommu(&[&["run"], options, &["--", "true"]].concat());
        assert_eq!(run.status.code(), Some(125), "{options:?}");
        assert!(text(&run.stderr).contains(reason), "{run:?}");
    }
}

#[test]
fn every_setting_is_in_the_help() {
    let help = text(&swiommu(&["machine", "--help"]).stdout);
    for part in [
        "--iommu vtd: Intel VT-d",
        "erratum-772415:",
        "[default: 48]",
        "39, 48 or 57",
        "--device dma:",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
}
