//! The one door to the operating system: everything that needs `nix` or `libc`.
//!
//! Knows descriptors, processes, signals and kernel files; doesn't know tokens' meaning, policy or the event loop.

pub mod ancestors;
pub mod background;
pub mod child;
pub mod clock;
pub mod descriptor;
pub mod fifo;
pub mod files;
pub mod folder;
pub mod foreign;
pub mod notify;
pub mod pipe;
pub mod proc;
pub mod say;
pub mod schedule;
pub mod service;
pub mod socket;
pub mod tools;
pub mod users;
pub mod witness;
