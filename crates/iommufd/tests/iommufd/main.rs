//! The rules of the ioctls: which error comes first, what a call that fails leaves alone, and calls at the same time.

mod concurrency;
mod copy;
mod dispatch;
mod fixture;
mod hwpt;
mod info;
mod map;
mod objects;
mod option;
mod order;
mod ranges;
mod reply;
mod typed;
mod vfio;
