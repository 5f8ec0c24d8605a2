//! Commands as traces show them, and what is written back.

use arbitrary::Arbitrary;
use swiommu_abi::command::{COMMANDS, UserCommand};
use swiommu_abi::vfio::container;
use swiommu_abi::{Errno, Fault, Value};

#[derive(Arbitrary, Debug)]
pub struct Input {
    which: u8,
    /// Of the call: 0 is success.
    errno: u8,
    bytes: Vec<u8>,
}

pub fn check(input: &Input) {
    let command = &COMMANDS[usize::from(input.which) % COMMANDS.len()];
    let shown = look(command.fields(&input.bytes));
    if input.bytes.len() >= command.full_size {
        assert!(
            shown
                >= command
                    .fields
                    .iter()
                    .filter(|field| field.value(&input.bytes).is_some())
                    .count()
                    / 2
        );
    }

    let read = |offset: u64, into: &mut [u8]| {
        let offset = usize::try_from(offset).map_err(|_| Fault)?;
        let from = input.bytes.get(offset..offset + into.len()).ok_or(Fault)?;
        into.copy_from_slice(from);
        Ok(())
    };
    let Ok(call) = UserCommand::read(command, read) else {
        return;
    };
    look(command.fields(call.bytes()));
    let result = match input.errno {
        0 => Ok(()),
        1 => Err(Errno::EMSGSIZE),
        _ => Err(Errno::EINVAL),
    };
    if let Some((offset, reply)) = call.reply(result) {
        let claimed = u64::from(u32::from_ne_bytes(
            input.bytes[..4].try_into().expect("four bytes"),
        ));
        let end = offset + reply.len() as u64;
        assert!(
            end <= claimed.min(command.full_size as u64),
            "{} writes past the struct",
            command.name
        );
    }
}

pub fn check_vfio(which: u8, bytes: &[u8]) {
    let command = &container::COMMANDS[usize::from(which) % container::COMMANDS.len()];
    look(command.fields(bytes));
}

/// Formats every field, as a trace does. Returns how many there are.
fn look(fields: impl Iterator<Item = (&'static str, Value)>) -> usize {
    fields
        .map(|(name, value)| assert!(!format!("{name}={value:?}").is_empty()))
        .count()
}
