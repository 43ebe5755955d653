//! How large the jobs of each client are, looked up now and then, and remembered by what the clients are called.
//!
//! Doesn't know what follows from it. A job is as large as the largest process below the client that hands out none itself:
//! short ones aren't seen, but those that fill a machine aren't short.

use super::Server;
use crate::policy::regulator::Input;
use crate::policy::time::Moment;
use crate::proto::ancestry::starts_jobs;
use crate::proto::sizes::Sizes;
use crate::sys::{ancestors, cache};
use mio::Token;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// So often: each look reads a line of every process.
const LOOK: Duration = Duration::from_secs(5);

/// What a build without a job of that size does needn't be remembered, in bytes.
const SMALL: u64 = 64 << 20;

const FILE: &str = "sizes.json";

/// See the module.
#[derive(Debug, Default)]
pub struct Memory {
    /// Where the file lies; `None`: nowhere.
    folder: Option<PathBuf>,
    known: Sizes,
    looked: Moment,
    /// What the regulator was told.
    told: u64,
}

impl Server {
    /// What is remembered in that folder counts, and what is seen is remembered there.
    pub fn remember_sizes_in(&mut self, folder: PathBuf) {
        self.sizes.known = Sizes::read(&cache::read(&folder, FILE));
        self.sizes.folder = Some(folder);
    }

    /// When the next look is due; `None`: nobody needs one.
    pub(super) fn sizes_due(&self) -> Option<Moment> {
        let counts = self.regulator.settings().law.is_watching() && self.regulator.out() > 0;
        counts.then(|| self.sizes.looked + LOOK)
    }

    /// Looks, if it is time to.
    pub(super) fn look_at_sizes(&mut self, now: Moment) {
        if self.sizes_due().is_none_or(|due| due > now) {
            return;
        }
        self.sizes.looked = now;
        let clients: Vec<(Token, Vec<i32>)> = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.id().is_some())
            .map(|(&at, conn)| (at, conn.anchors.iter().map(|anchor| anchor.pid()).collect()))
            .collect();
        let groups: Vec<&[i32]> = clients.iter().map(|(_, roots)| &roots[..]).collect();
        let trees = ancestors::below(Path::new(ancestors::PROC), &groups);
        for ((token, _), tree) in clients.iter().zip(&trees) {
            let jobs = tree.iter().flatten().filter(|process| !starts_jobs(&process.name));
            let largest = jobs.map(ancestors::bytes).max().unwrap_or(0);
            if let Some(conn) = self.conns.get_mut(token) {
                conn.job_bytes = conn.job_bytes.max(largest);
            }
        }
        self.expect_sizes(now);
    }

    /// Somebody has come or gone, or was looked at: tells how large jobs become, by what is known of those who are here.
    pub(super) fn expect_sizes(&mut self, now: Moment) {
        let known = |token: &Token| {
            let conn = self.conns.get(token)?;
            let before = self.sizes.known.of(conn.peer.uid, &conn.hello.label).unwrap_or(0);
            Some(conn.job_bytes.max(before))
        };
        let bytes = self.clients.values().filter_map(known).max().unwrap_or(0);
        if bytes != self.sizes.told {
            self.sizes.told = bytes;
            self.note(now, Input::JobSize(bytes));
        }
    }

    /// A client has gone.
    pub(super) fn remember_size(&mut self, uid: u32, label: &str, bytes: u64) {
        let is_news = bytes >= SMALL || self.sizes.known.of(uid, label).is_some();
        if bytes == 0 || !is_news || label.is_empty() {
            return;
        }
        self.sizes.known.remember(uid, label, bytes);
        if let Some(folder) = &self.sizes.folder {
            cache::replace(folder, FILE, self.sizes.known.text().as_bytes());
        }
    }
}
