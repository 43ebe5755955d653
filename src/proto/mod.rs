//! Text and values: what tools and the kernel write, read into values, and back.
//!
//! Pure: no system call, no environment, no clock.

pub mod argv;
pub mod makeflags;
pub mod status;
pub mod text;
