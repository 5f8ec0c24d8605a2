//! The control socket of a running swiommu: how `swiommu show` asks it for its objects.
//!
//! It is a socket without a file (`@swiommu/PID`), so that nothing is left over, and it answers the same user and root. A client sends
//! the name of a format and a newline, and gets the drawing.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use swiommu_inspect::{Format, Graph};
use swiommu_machine::Contexts;
use swiommu_supervisor::OnStart;

use crate::diagram::graph;

const NAME: &str = "swiommu/";

/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest request.
const REQUEST: u64 = 16;

fn address(pid: u32) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("{NAME}{pid}"))
}

/// Answers from the start of the program until this process ends.
pub(crate) fn answer(contexts: &Arc<Contexts>) -> OnStart {
    let contexts = contexts.clone();
    OnStart::new(move || {
        let listener = address(process::id()).and_then(|own| UnixListener::bind_addr(&own));
        let started = listener.and_then(|listener| {
            thread::Builder::new()
                .name("swiommu-show".into())
                .spawn(move || serve(&listener, &contexts))
        });
        if let Err(error) = started {
            tracing::warn!(%error, "`swiommu show` will not find this run");
        }
    })
}

fn serve(listener: &UnixListener, contexts: &Contexts) {
    loop {
        let answered = listener
            .accept()
            .and_then(|(stream, _)| reply(&stream, contexts));
        if let Err(error) = answered {
            tracing::debug!(%error, "a request of `swiommu show` was not answered");
        }
    }
}

fn reply(mut stream: &UnixStream, contexts: &Contexts) -> io::Result<()> {
    let asker = socket_peercred(stream)?.uid;
    if asker != geteuid() && !asker.is_root() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = String::new();
    BufReader::new(stream.take(REQUEST)).read_line(&mut request)?;
    let format: Format = request
        .trim_end()
        .parse()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let graphs: Vec<Graph> = contexts.open().iter().map(graph).collect();
    stream.write_all(format.draw(&graphs).as_bytes())
}

/// Asks a running swiommu for its objects.
pub(crate) fn ask(pid: u32, format: Format) -> anyhow::Result<String> {
    let mut stream = address(pid)
        .and_then(|address| UnixStream::connect_addr(&address))
        .with_context(|| format!("process {pid} is no running swiommu"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut drawing = String::new();
    writeln!(stream, "{}", format.name())
        .and_then(|()| stream.read_to_string(&mut drawing))
        .with_context(|| format!("process {pid} does not answer"))?;
    Ok(drawing)
}

/// The process numbers of the swiommus that run in this network namespace, from the text of `/proc/net/unix`.
pub(crate) fn running(sockets: &str) -> Vec<u32> {
    let mut pids: Vec<u32> = sockets
        .lines()
        .filter_map(|line| line.rsplit_once('@')?.1.strip_prefix(NAME)?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

#[cfg(test)]
mod tests {
    use super::running;

    #[test]
    fn those_that_run_are_known_by_their_sockets() {
        let sockets = "\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 18765 @swiommu/4711
0000000000000000: 00000003 00000000 00000000 0001 03 18766 @swiommu/4711
0000000000000000: 00000002 00000000 00010000 0001 01 18767 @swiommu/12
0000000000000000: 00000002 00000000 00010000 0001 01 18768 /run/swiommu/13
0000000000000000: 00000002 00000000 00010000 0001 01 18769 @swiommu/x
0000000000000000: 00000002 00000000 00010000 0001 01 18770
";
        assert_eq!(running(sockets), [12, 4711]);
    }
}
