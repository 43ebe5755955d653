//! Jobs that stand still while everything waits for memory, where that is wished.
//!
//! Doesn't know how many are to (policy/law/freeze.rs), nor how they are stopped (sys/freezer.rs). A job is what a tool has
//! started, all below it; never one that has a tool or a client of ours below it, for those would be waited for.

use super::Server;
use crate::proto::ancestry::jobs;
use crate::sys::ancestors;
use crate::sys::freezer::{Freezer, Process};
use std::path::Path;

/// See the module.
#[derive(Debug, Default)]
pub struct Frozen {
    freezer: Freezer,
    /// By their processes, the first of each in front; in the order in which they were stopped.
    jobs: Vec<Vec<Process>>,
}

impl Frozen {
    fn thaw(&mut self, at: usize) {
        for process in self.jobs.remove(at).into_iter().rev() {
            self.freezer.go_on(process);
        }
    }

    fn forget_the_ended(&mut self) {
        let lives =
            |&(pid, start): &Process| ancestors::is_alive_since(Path::new(ancestors::PROC), pid, start);
        while let Some(at) = self.jobs.iter().position(|job| !job.first().is_some_and(lives)) {
            self.thaw(at);
        }
    }
}

impl Server {
    /// Stops jobs, the youngest first, or lets them go on, those that stand still longest first, until there are as many as there are to be.
    pub(super) fn freeze(&mut self) {
        let wanted = self.regulator.law().still() as usize;
        if wanted == 0 && self.frozen.jobs.is_empty() {
            return;
        }
        self.frozen.freezer.check();
        if self.frozen.freezer.still().is_empty() {
            self.frozen.jobs.clear(); // whoever kept them has ended, and they go on
        }
        self.frozen.forget_the_ended();
        while self.frozen.jobs.len() > wanted {
            self.frozen.thaw(0);
        }
        if self.frozen.jobs.len() < wanted {
            self.stop_youngest(wanted - self.frozen.jobs.len());
        }
    }

    fn stop_youngest(&mut self, count: usize) {
        let clients = self.conns.values().filter(|conn| conn.id().is_some());
        let groups: Vec<Vec<i32>> =
            clients.map(|conn| conn.anchors.iter().map(|anchor| anchor.pid()).collect()).collect();
        let roots: Vec<i32> = groups.iter().flatten().copied().collect();
        let groups: Vec<&[i32]> = groups.iter().map(Vec::as_slice).collect();
        let trees = ancestors::below(Path::new(ancestors::PROC), &groups);
        let mut running: Vec<Vec<Process>> =
            trees.iter().flatten().flat_map(|tree| jobs(tree, &roots)).collect();
        running.sort_by_key(|job| std::cmp::Reverse(job.first().map(|&(pid, start)| (start, pid))));
        for job in running.into_iter().take(count) {
            for &process in &job {
                if let Err(error) = self.frozen.freezer.stop(process) {
                    log::warn!("nothing can be stopped: {error}");
                    return self.frozen.jobs.clear();
                }
            }
            self.frozen.jobs.push(job);
        }
    }
}
