//! The calls of a client, as they happen.

mod call;
mod json;
mod story;
mod wrap;

#[cfg(test)]
mod tests;

pub use call::Call;
pub use json::JsonLines;
pub use story::Story;
pub use wrap::traced;

/// Where traced calls go.
pub trait Sink: Send + Sync + std::fmt::Debug {
    /// Takes one call that has ended.
    fn record(&self, call: &Call);
}
