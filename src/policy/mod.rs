//! The policy core: how many tokens may be out, and when.
//!
//! Pure: standard library only, no clock, no I/O, no log; time is an argument. It doesn't know what a pipe, a
//! process or a kernel file is.

pub mod account;
mod admission;
pub mod appetite;
pub mod diskmon;
pub mod endpoint;
pub mod gate;
pub mod law;
pub mod ledger;
pub mod limit;
pub mod pressure;
pub mod reading;
pub mod regulator;
pub mod share;
pub mod summary;
pub mod ticker;
pub mod time;
