//! Devices behind Intel VT-d.

#![expect(clippy::unwrap_used, reason = "in a test, an error is a failure")]

mod dma;
mod guest;
mod virtio_queue;
