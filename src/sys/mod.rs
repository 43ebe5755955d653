//! The one door to the operating system: everything that needs `nix` or `libc`.
//!
//! Knows descriptors, processes, signals and kernel files; doesn't know tokens' meaning, policy or the event loop.

pub mod child;
pub mod clock;
pub mod descriptor;
pub mod fifo;
pub mod folder;
pub mod notify;
pub mod pipe;
pub mod proc;
pub mod say;
pub mod schedule;
pub mod tools;
pub mod witness;
