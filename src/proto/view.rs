//! How a gate stands, as `status --json` prints it and the server tells it.
//!
//! Doesn't know where the figures come from, nor how people read them (`status`).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One gate. Fields may be added, none is taken away.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct View {
    /// The server's program version.
    pub version: String,
    /// The server's process id.
    pub pid: u32,
    /// What tells the pid namespace in which that and all clients' are from others; 0: unknown.
    pub pid_namespace: u64,
    /// Where it listens; empty for a run's own gate.
    pub socket: String,
    /// Seconds since its start.
    pub uptime_s: f64,
    /// The most jobs that may ever run.
    pub jobs: u32,
    /// How many may run now.
    pub limit: u32,
    /// Leases and tokens held.
    pub in_use: u32,
    /// How the limit was found.
    pub law: LawView,
    /// The gate.
    pub gate: GateView,
    /// Each resource's pressure.
    pub pressure: BTreeMap<String, PressureView>,
    /// The beat.
    pub heartbeat: BeatView,
    /// Whether the limit is growing back after a hold.
    pub growing_back: bool,
    /// Each setting, and where it came from.
    pub settings: BTreeMap<String, SettingView>,
    /// Who has what.
    pub clients: Vec<ClientView>,
}

/// How the limit was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LawView {
    /// `adaptive` or `fixed`.
    pub kind: String,
    /// What bounds the limit: `ceiling`, `cpu`, `io`, `memory` or `growth`.
    pub tightest: String,
    /// Usable cpus.
    pub cpus: u32,
    /// How many jobs may run by each part; none: it bounds nothing, or isn't known.
    pub parts: PartsView,
    /// Runnable threads over cpus, smoothed; none: not measured.
    pub load: Option<f64>,
    /// The size that a job is thought to have, in bytes; none where memory isn't looked at.
    pub job_bytes: Option<u64>,
    /// Memory that is available, in bytes, likewise.
    pub available_bytes: Option<u64>,
    /// Everything waits for memory: one job may run until that is over.
    pub thrashes: bool,
    /// So many jobs are to stand still meanwhile.
    pub still: u32,
    /// Somebody reads the pressure files so fast that they say nothing.
    pub distrusts_pressure: bool,
}

/// The parts of the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartsView {
    /// The headroom of the cpus.
    pub cpu: Option<u32>,
    /// Io.
    pub io: Option<u32>,
    /// The room in memory.
    pub memory: Option<u32>,
    /// How fast the number of jobs may grow.
    pub growth: Option<u32>,
}

impl PartsView {
    /// Nothing bounds anything.
    pub fn is_empty(&self) -> bool {
        *self == PartsView::default()
    }
}

/// Open, held, or just started anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GateView {
    /// `open`, `held` or `recovering`.
    pub state: String,
    /// What it holds back: `all` or `starts`.
    pub hold: String,
    /// What is over its threshold.
    pub reasons: Vec<ReasonView>,
}

/// One resource over its threshold, in us per second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReasonView {
    /// `cpu`, `io` or `memory`, or `load`, the load average per cpu.
    pub resource: String,
    /// Its rate, or the load.
    pub rate: f64,
    /// Its threshold.
    pub max: f64,
}

/// One resource's pressure, in us per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PressureView {
    /// Unknown until two samples exist, where nobody watches it, or where the kernel has no PSI.
    pub rate: Option<f64>,
    /// The threshold.
    pub max: Option<f64>,
}

/// The beat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BeatView {
    /// Seconds between two.
    pub interval_s: f64,
    /// So far.
    pub beats: u64,
    /// Came too late to fire.
    pub missed: u64,
}

/// A setting.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SettingView {
    /// As it would be typed.
    pub value: String,
    /// Who said so.
    pub from: String,
}

/// One client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientView {
    /// Its number.
    pub id: u64,
    /// Its proxy's process.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// What it runs.
    pub label: String,
    /// `pipe`, `fifo` or `exec`.
    pub style: String,
    /// Tokens leased.
    pub lease: u32,
    /// It runs on the payment of the job that it was started in.
    pub borrowed: bool,
    /// Its lease was granted above the limit, because it had waited too long.
    pub overdue: bool,
    /// Tokens that its tree may hold.
    pub allotment: u32,
    /// Tokens that it holds.
    pub held: u32,
    /// Held above the allotment.
    pub owed: u32,
    /// Held by nobody who lives: a tool ended without giving it back. The server doesn't look: `status` does.
    pub lost: u32,
    /// How often it has reported.
    pub reports: u64,
    /// The largest job of its that was seen, in bytes; 0: none was.
    pub job_bytes: u64,
    /// Whose descendants are its tree; nothing where the asker may not know.
    pub roots: Vec<i32>,
    /// It could use more than it has.
    pub wants: bool,
    /// Job control has stopped it.
    pub stopped: bool,
    /// Seconds that it has waited for its lease; none: it doesn't wait.
    pub waits_s: Option<f64>,
    /// The most that it may have.
    pub cap: Option<u32>,
    /// Its share.
    pub weight: u32,
    /// Seconds since it came.
    pub age_s: f64,
}
