//! Instructions: this program once more, under callgrind, with nothing counted but the work.
//!
//! Unlike time, they are the same in every run. Valgrind has no AVX-512, so what chooses by the CPU can choose otherwise.

use std::fs;
use std::hint::black_box;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// The function whose instructions are counted, and after which they are written to a file.
const COUNTED: &str = "swiommu_bench::callgrind::counted";

/// Runs a subcommand of this program. Returns what it printed for each piece of work, a line, and how many instructions that took.
pub(crate) fn run(subcommand: &str) -> anyhow::Result<Vec<(String, f64)>> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--dump-after={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe()?)
        .arg(subcommand);
    let output = match valgrind.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("there is no valgrind; a package of that name has it")
        }
        output => output?,
    };
    if !output.status.success() {
        bail!("valgrind: {}", String::from_utf8_lossy(&output.stderr));
    }
    let lines = String::from_utf8(output.stdout)?;
    let pieces = lines.lines().zip(1..).map(|(line, piece)| {
        let sum = instructions(&out.with_extension(piece.to_string()))?;
        Ok((line.to_owned(), sum))
    });
    pieces.collect()
}

/// The sum of a file that callgrind wrote.
fn instructions(path: &Path) -> anyhow::Result<f64> {
    let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(totals.context("a line of totals")?.parse()?)
}

/// Does a piece of work that is counted. Callgrind knows it by its name. Something remains to be done after the call, so that it is
/// one.
#[inline(never)]
pub(crate) fn counted(work: &mut dyn FnMut()) -> u8 {
    work();
    black_box(0)
}
