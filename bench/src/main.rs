//! Prints the speed of swiommu beside its peers. A row is an operation; its goal is a ratio to a peer measured in the same
//! run, or a figure. Build with `--release`.

#![forbid(unsafe_code)]

mod iova;
mod rounds;
mod table;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about, version)]
struct Cli {
    #[command(subcommand)]
    table: Table,
}

#[derive(Subcommand)]
enum Table {
    /// The IOVA map: areas and holes, at a million areas.
    Iova,
}

fn main() -> anyhow::Result<()> {
    let table = match Cli::parse().table {
        Table::Iova => iova::run()?,
    };
    print!("{table}");
    Ok(())
}
