//! Prints the speed of swiommu beside its peers. A row is an operation; its goal is measured against a peer of the same run,
//! or is a figure. Build with `--release`.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures are rounded for people, and the sizes are chosen here"
)]

mod ioctl;
mod iova;
mod memory;
mod random;
mod rounds;
mod table;

use std::process::ExitCode;

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
    /// System calls and mappings: trapped, continued, untrapped; in process; resident memory; memory per area.
    Ioctl,
    /// A client of the table `ioctl`.
    #[command(hide = true)]
    IoctlClient { under: ioctl::Under },
}

fn main() -> anyhow::Result<ExitCode> {
    let table = match Cli::parse().table {
        Table::Iova => iova::run()?,
        Table::Ioctl => ioctl::run()?,
        Table::IoctlClient { under } => return ioctl::client(under),
    };
    print!("{table}");
    Ok(ExitCode::SUCCESS)
}
