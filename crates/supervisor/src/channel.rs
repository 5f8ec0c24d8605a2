//! Messages between the processes of a run: from the guardian and the client to the supervisor.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// One message.
#[derive(Debug)]
pub(crate) enum Message {
    /// From the client before it executes: its process id and the filter's notification descriptor.
    Filtered { pid: i32, listener: OwnedFd },
    /// From the client: it cannot start.
    Failed { stage: Stage, errno: i32 },
    /// From the guardian: the first process ended with this `waitpid(2)` status.
    Ended { status: i32 },
    /// From the guardian: this signal stopped the first process.
    Stopped { signal: i32 },
}

/// How far the client came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// Creating the client's process.
    Fork,
    /// Installing the filter.
    Filter,
    /// Handing over the notification descriptor.
    Handover,
    /// Executing the program.
    Execute,
}

const FILTERED: i32 = 1;
const FAILED: i32 = 2;
const ENDED: i32 = 3;
const STOPPED: i32 = 4;

const STAGES: [Stage; 4] = [Stage::Fork, Stage::Filter, Stage::Handover, Stage::Execute];

/// Two connected ends.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
}

/// Sends a message without allocating, so that it may be called between `fork` and `execve`.
pub(crate) fn send(channel: impl AsFd, message: &Message) -> Result<()> {
    let words = match message {
        Message::Filtered { pid, .. } => [FILTERED, *pid, 0],
        Message::Failed { stage, errno } => [FAILED, *stage as i32, *errno],
        Message::Ended { status } => [ENDED, *status, 0],
        Message::Stopped { signal } => [STOPPED, *signal, 0],
    };
    let mut bytes = [0; 12];
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut room);
    let listener: [BorrowedFd<'_>; 1];
    if let Message::Filtered { listener: fd, .. } = message {
        listener = [fd.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&listener));
    }
    sendmsg(
        channel,
        &[IoSlice::new(&bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Waits for a message; `None` when all other ends are closed.
pub(crate) fn receive(channel: impl AsFd) -> Result<Option<Message>> {
    let mut bytes = [0; 12];
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut room);
    let received = loop {
        match recvmsg(
            &channel,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    let fd = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let word = |index: usize| {
        let mut word = [0; 4];
        word.copy_from_slice(&bytes[4 * index..4 * index + 4]);
        i32::from_ne_bytes(word)
    };
    let message = match (word(0), fd) {
        (FILTERED, Some(listener)) => Message::Filtered {
            pid: word(1),
            listener,
        },
        (FAILED, _) => {
            let stage = STAGES.into_iter().find(|stage| *stage as i32 == word(1));
            Message::Failed {
                stage: stage.ok_or(Errno::BADMSG)?,
                errno: word(2),
            }
        }
        (ENDED, _) => Message::Ended { status: word(1) },
        (STOPPED, _) => Message::Stopped { signal: word(1) },
        _ => return Err(Errno::BADMSG),
    };
    Ok(Some(message))
}
