//! From a client's path to what it names, when that is ours.

mod names;
mod proc;
mod resolve;
mod shadow;

#[cfg(test)]
mod tests;

pub(crate) use names::Names;
pub(crate) use proc::{Owner, ProcPath};
pub(crate) use resolve::{Follow, Resolver, Target};
pub(crate) use shadow::Shadow;
