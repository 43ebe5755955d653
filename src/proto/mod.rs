//! Text and values: what tools and the kernel write, read into values, and back.
//!
//! Pure: no system call, no environment, no clock.

pub mod ancestry;
pub mod argv;
pub mod config;
pub mod export;
pub mod makeflags;
pub mod status;
pub mod text;
pub mod values;
pub mod view;
pub mod wire;
