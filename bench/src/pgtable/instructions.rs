//! Instructions per operation: this program once more, under callgrind, with nothing counted but the work.
//!
//! Unlike time, they are the same in every run. Valgrind has no AVX-512, so what chooses by the CPU can choose otherwise.

use std::fs;
use std::hint::black_box;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use super::contenders::{CONTENDERS, rows};
use super::exercise::Size;
use super::meter::{Costs, Meter};
use super::operation::Operation;
use super::pool::Pool;
use crate::table::Table;

const ABOUT: &str = "Page tables, leaves of 4 KiB: instructions per operation, counted by callgrind. The same work as in the table of times.";

/// The subcommand that is counted.
pub(crate) const COMMAND: &str = "pgtable-counted";

/// The function whose instructions are counted, and after which they are written to a file.
const COUNTED: &str = "swiommu_bench::pgtable::instructions::do_counted";

pub(crate) fn run() -> anyhow::Result<Table> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--dump-after={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe()?)
        .arg(COMMAND);
    let output = match valgrind.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("there is no valgrind; a package of that name has it")
        }
        output => output?,
    };
    if !output.status.success() {
        bail!("valgrind: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut costs = vec![vec![Costs::default()]; CONTENDERS.len()];
    for (piece, line) in String::from_utf8(output.stdout)?.lines().enumerate() {
        let mut numbers = line.split(' ').map(str::parse::<usize>);
        let mut number = || numbers.next().context("three numbers")?.context("a number");
        let (contender, operation, count) = (number()?, number()?, number()?);
        let sum = instructions(&out.with_extension((piece + 1).to_string()))?;
        costs[contender][0].add(Operation::ALL[operation], sum, count as u64);
    }
    Ok(Table {
        about: ABOUT,
        rows: rows(&costs, "i", Operation::instructions),
    })
}

/// The sum of a file that callgrind wrote.
fn instructions(path: &Path) -> anyhow::Result<f64> {
    let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(totals.context("a line of totals")?.parse()?)
}

/// The program that is counted. It prints what each piece of work was: contender, operation, count.
pub(crate) fn counted_main() -> anyhow::Result<()> {
    let pool = Pool::leak(Size::GOALS.tables())?;
    for (index, contender) in CONTENDERS.iter().enumerate() {
        (contender.run)(pool, Size::GOALS, &mut Counter(index));
        pool.rewind();
    }
    Ok(())
}

struct Counter(usize);

impl Meter for Counter {
    fn measure(&mut self, operation: Operation, count: u64, work: &mut dyn FnMut()) {
        println!("{} {} {count}", self.0, operation as usize);
        do_counted(work);
    }
}

/// Callgrind knows it by its name. Something remains to be done after the call, so that it is one.
#[inline(never)]
fn do_counted(work: &mut dyn FnMut()) -> u8 {
    work();
    black_box(0)
}
