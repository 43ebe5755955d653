//! jobgate: a GNU-make-compatible jobserver that hands out tokens by the kernel's pressure.
//!
//! The modules are layers; each may use only those above it in this list. `tests/layers.rs` holds the rule.
//!
//! * `policy`: decides. Pure: no clock, no I/O, no log.
//! * `proto`: text and values. Pure.
//! * `report`: what a journal says, made visible. Pure.
//! * `sys`: the one door to the operating system.
//! * `server`: the event loop of the shared gate.
//! * `proxy`: the event loop of one tree.
//! * `cli`: what a user types and reads.

pub mod policy;
pub mod proto;
pub mod report;
pub mod sys;

pub mod proxy;
pub mod server;

pub mod cli;
