//! Text and values: what tools and the kernel write, read into values, and back.
//!
//! Pure: no system call, no environment, no clock.

pub mod ancestry;
pub mod argv;
pub mod buildstats;
pub mod config;
pub mod diskmon;
pub mod export;
pub mod findings;
pub mod gap;
pub mod journal;
pub mod kernel;
pub mod makeflags;
pub mod recorder;
pub mod sample;
pub mod scene;
pub mod set;
pub mod sizes;
pub mod status;
pub mod text;
pub mod tree;
pub mod values;
pub mod versions;
pub mod view;
pub mod wire;
