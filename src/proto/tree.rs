//! What a proxy writes down of its tree for those below it that can't see it otherwise: an emptied environment, closed
//! descriptors, a question of who pays for a job.
//!
//! Doesn't know where that is written, nor whether any of it is still true.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tree {
    /// The process below which the tree hangs: the proxy, or the shell that one is bound to. Its pid ...
    pub anchor: i32,
    /// ... and when it started, in clock ticks since boot: with its pid that names a process for good.
    pub anchor_start: u64,
    /// The proxy's pid: through its descriptors a pipe can be reached.
    pub proxy: i32,
    /// The process that the proxy has started, 0 before it has: what else hangs from the proxy are orphans.
    pub command: i32,
    /// The endpoint, as `JOBGATE_AUTH` has it.
    pub auth: String,
    /// The most jobs that the tree could have when it started.
    pub jobs: u32,
    /// What hangs from the anchor directly is paid for by its lease.
    pub is_paid: bool,
    /// The command is no tool that runs jobs itself: what was paid for it serves who hangs from it.
    pub lends: bool,
    /// The endpoint's gate is shared with nobody, or goes through another jobserver.
    pub is_private: bool,
    /// Some make that could be started there dies of a fifo.
    pub old_make: bool,
    /// The gate that was named.
    pub socket: Option<PathBuf>,
}

impl Tree {
    /// One line.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// Reads it; what is behind the line doesn't matter. `None`: it is none.
    pub fn parse(text: &str) -> Option<Tree> {
        let tree: Tree = serde_json::from_str(text.lines().next()?).ok()?;
        (tree.anchor > 0).then_some(tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_it_was() {
        let tree =
            Tree { anchor: 77, auth: "fifo:/x/\"y".into(), socket: Some("/s".into()), ..Tree::default() };
        assert_eq!(Tree::parse(&(tree.text() + "old rest\0")), Some(tree));
        for odd in ["", "{}", "{\"anchor\":-1}", "[]", "{\"anchor\":1", "\n{\"anchor\":1}"] {
            assert_eq!(Tree::parse(odd), None, "{odd:?}");
        }
    }
}
