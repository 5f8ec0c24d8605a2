//! `swiommu show`.

use std::fs;
use std::io::{Write, stdout};

use anyhow::{Context as _, bail};

use crate::args::ShowOptions;
use crate::control;

/// Prints the objects of a running program. Returns the exit code.
pub(crate) fn show(options: &ShowOptions) -> anyhow::Result<u8> {
    let sockets = fs::read_to_string("/proc/net/unix").context("cannot read /proc/net/unix")?;
    let running = control::running(&sockets);
    let pid = match options.pid {
        Some(pid) => supervisor_of(pid, &running)?,
        None => only(&running)?,
    };
    let drawing = control::ask(pid, options.format)?;
    let text = if drawing.is_empty() {
        format!("process {pid}: no context is open\n")
    } else {
        drawing
    };
    // Whether anybody reads it changes nothing.
    let _ = stdout().write_all(text.as_bytes());
    Ok(0)
}

fn only(running: &[u32]) -> anyhow::Result<u32> {
    match running {
        [] => bail!("no program runs under swiommu here; start one with `swiommu run -- PROGRAM`"),
        [pid] => Ok(*pid),
        several => {
            let several: Vec<String> = several.iter().map(u32::to_string).collect();
            bail!(
                "several run: say which of {}, or the PID of a program under one",
                several.join(", ")
            )
        }
    }
}

/// The swiommu that a process runs under: itself or the nearest ancestor that is one.
fn supervisor_of(pid: i32, running: &[u32]) -> anyhow::Result<u32> {
    let mut ancestor = u32::try_from(pid).unwrap_or(0);
    while ancestor > 1 {
        if running.contains(&ancestor) {
            return Ok(ancestor);
        }
        let stat = fs::read_to_string(format!("/proc/{ancestor}/stat"));
        let stat = stat.with_context(|| format!("there is no process {pid}"))?;
        ancestor = parent(&stat).unwrap_or(0);
    }
    bail!("process {pid} does not run under swiommu")
}

/// The parent's number in a `/proc/PID/stat`, whose second field may hold anything between its parentheses.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_strange_name_has_a_parent() {
        assert_eq!(parent("12 (a) S 3 (b) S 77 12 12 0"), Some(77));
        assert_eq!(parent("garbage"), None);
    }

    #[test]
    fn one_that_runs_alone_need_not_be_named() {
        assert_eq!(only(&[7]).ok(), Some(7));
        assert!(only(&[]).is_err());
        let several = only(&[7, 8]).map_err(|error| error.to_string());
        assert!(several.is_err_and(|text| text.contains("7, 8")));
    }

    #[test]
    fn this_process_does_not_run_under_one() {
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        assert!(supervisor_of(own, &[]).is_err());
        assert_eq!(
            supervisor_of(own, &[std::process::id()]).ok(),
            Some(std::process::id())
        );
    }
}
