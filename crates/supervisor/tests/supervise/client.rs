//! The clients. Each is a program of its own in the tests; it exits with 0 when all that it sees is right.

use std::process::ExitCode;

mod sys;

/// The clients by name.
const ALL: &[(&str, fn(&[String]))] = &[("thin", thin)];

pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let (name, rest) = arguments.split_first().expect("a client's name");
    let client = ALL.iter().find(|(other, _)| other == name);
    let (_, client) = client.unwrap_or_else(|| panic!("no client {name}"));
    client(rest);
    ExitCode::SUCCESS
}

use crate::served::request;

/// Opens, calls and closes.
fn thin(_: &[String]) {
    let fd = sys::open("/dev/iommu", libc::O_RDWR).expect("it opens");
    let mut word = 41;
    assert_eq!(sys::ioctl_u32(fd, request::ADD_ONE, &mut word), Ok(7));
    assert_eq!(word, 42);
    assert_eq!(sys::ioctl(fd, request::ALIVE, 0), Ok(1));
    assert_eq!(sys::ioctl(fd, 0x3B9F, 0), Err(libc::ENOTTY));
    assert_eq!(sys::close(fd), Ok(0));
    assert_eq!(sys::ioctl(fd, request::ALIVE, 0), Err(libc::EBADF));
}
