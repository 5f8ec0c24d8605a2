//! Instructions per operation: the same work as in the table of times.

use anyhow::Context;

use super::contenders::{CONTENDERS, rows};
use super::exercise::Size;
use super::meter::{Costs, Meter};
use super::operation::Operation;
use super::pool::Pool;
use crate::callgrind;
use crate::table::Table;

const ABOUT: &str = "Page tables, leaves of 4 KiB: instructions per operation, counted by callgrind. The same work as in the table of times.";

/// The subcommand that is counted.
const COMMAND: &str = "pgtable-counted";

pub(crate) fn run() -> anyhow::Result<Table> {
    let mut costs = vec![vec![Costs::default()]; CONTENDERS.len()];
    for (line, sum) in callgrind::run(COMMAND)? {
        let mut numbers = line.split(' ').map(str::parse::<usize>);
        let mut number = || numbers.next().context("three numbers")?.context("a number");
        let (contender, operation, count) = (number()?, number()?, number()?);
        costs[contender][0].add(Operation::ALL[operation], sum, count as u64);
    }
    Ok(Table {
        about: ABOUT,
        rows: rows(&costs, "i", Operation::instructions),
    })
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
        callgrind::counted(work);
    }
}
