//! What a gate is set to as a journal has it, and back.
//!
//! Doesn't know whose settings they are, beyond what is said in them of who said each.

use super::journal::is_no;
use super::status::hold_name;
use super::values::{self, law_name, reserve_text};
use super::view::SettingView;
use crate::policy::gate::{Threshold, Thresholds};
use crate::policy::law;
use crate::policy::pressure::Resource;
use crate::policy::regulator::Settings;
use crate::policy::ticker::{self, DEFAULT_HEARTBEAT};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the gate is set to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Set {
    /// The most jobs.
    pub jobs: u32,
    /// Usable cpus.
    pub cpus: u32,
    /// Thresholds by resource, in us per second, of what is watched.
    pub max: BTreeMap<String, f64>,
    /// `all` or `starts`.
    pub hold: String,
    /// Seconds between two beats.
    pub heartbeat_s: f64,
    /// `adaptive` or `fixed`.
    pub law: String,
    /// What must stay available of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_available: Option<String>,
    /// The highest load average per cpu.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_load: Option<f64>,
    /// The youngest jobs are made to stand still while everything waits for memory.
    #[serde(skip_serializing_if = "is_no")]
    pub freeze_on_thrash: bool,
    /// Each as it was said, and by whom.
    pub from: BTreeMap<String, SettingView>,
}

impl Set {
    /// Those settings, and who said each.
    pub fn new(settings: &Settings, from: &BTreeMap<String, SettingView>) -> Set {
        let max = |of: Resource| Some((of.name().to_owned(), settings.thresholds.get(of)?.us_per_second()));
        Set {
            jobs: settings.jobs,
            cpus: settings.cpus,
            // JSON knows no infinity.
            max: Resource::ALL.into_iter().filter_map(max).map(|(of, max)| (of, max.min(1e12))).collect(),
            hold: hold_name(settings.hold).to_owned(),
            heartbeat_s: settings.heartbeat.as_secs_f64(),
            law: law_name(settings.law.kind).to_owned(),
            min_available: settings.law.reserve.map(reserve_text),
            max_load: settings.max_load,
            freeze_on_thrash: settings.law.freezes,
            from: from.clone(),
        }
    }

    /// The settings. A journal may be damaged: what can't be is what it is where nobody says anything.
    pub fn settings(&self) -> Settings {
        let mut thresholds = Thresholds::default();
        for resource in Resource::ALL {
            let max = self.max.get(resource.name());
            thresholds.set(resource, max.and_then(|&max| Threshold::new(max).ok()));
        }
        let beat = Duration::try_from_secs_f64(self.heartbeat_s).ok();
        let usual = Settings::new(self.jobs.max(1), self.cpus.max(1));
        Settings {
            thresholds,
            hold: values::hold("hold", &self.hold).unwrap_or(usual.hold),
            heartbeat: beat.filter(|&beat| beat >= ticker::SHORTEST_INTERVAL).unwrap_or(DEFAULT_HEARTBEAT),
            law: law::Terms {
                kind: values::law("law", &self.law).unwrap_or_default(),
                reserve: self.min_available.as_deref().and_then(|text| values::reserve("", text).ok()),
                freezes: self.freeze_on_thrash,
            },
            max_load: self.max_load.filter(|load| load.is_finite()),
            ..usual
        }
    }
}
