//! How to show a running machine to a person: the calls as they happen, and the objects as they are.
//!
//! A trace is made by wrapping what a client can open ([`traced`]); nothing inside the code that is watched knows about it. What
//! becomes of it is up to a [`Sink`]: one JSON object per line ([`JsonLines`]), or lines to read ([`Story`]). A [`Graph`] is the
//! objects of a context, and a [`Format`] draws it. A [`Walk`] is how an address of a device is translated.

#![forbid(unsafe_code)]

mod diagram;
mod trace;
mod walk;

pub use diagram::{Format, Graph, UnknownFormat};
pub use trace::{Call, JsonLines, Sink, Story, traced};
pub use walk::Walk;
