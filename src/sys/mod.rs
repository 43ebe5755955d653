//! The one door to the operating system: everything that needs `nix` or `libc`.
//!
//! Knows descriptors, processes, signals and kernel files; doesn't know tokens' meaning, policy or the event loop.

mod again;
pub mod ancestors;
pub mod background;
pub mod cache;
pub mod cgroup;
pub mod child;
pub mod clock;
pub mod counter;
pub mod descriptor;
pub mod disk;
pub mod fifo;
pub mod files;
pub mod folder;
pub mod foreign;
pub mod freezer;
pub mod guarded;
pub mod layer;
pub mod limits;
pub mod machine;
pub mod notify;
pub mod on_demand;
pub mod pipe;
pub mod proc;
pub mod remembered;
pub mod say;
pub mod schedule;
pub mod scribe;
pub mod service;
pub mod shims;
pub mod socket;
pub mod socket_name;
pub mod stats_folder;
pub mod tools;
pub mod tree_file;
pub mod users;
pub mod witness;
