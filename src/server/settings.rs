//! What a shared gate is set to, and who said so: its file and command line, or the wishes of its living clients, and on
//! top what was `set` while it runs.
//!
//! Doesn't know files or sockets. Settings are kept as they would be typed, and given meaning here.

use crate::policy::gate::{Hold, Thresholds};
use crate::policy::law::memory::Reserve;
use crate::policy::law::{self, Kind};
use crate::policy::pressure::Resource;
use crate::policy::regulator::Settings;
use crate::policy::ticker::DEFAULT_HEARTBEAT;
use crate::proto::values::{self, Scope};
use crate::proto::view::SettingView;
use crate::proto::wire::{Hello, WishesSaid};
use std::collections::BTreeMap;
use std::time::Duration;

/// Settings by name, each with who said so.
pub type Layer = BTreeMap<String, SettingView>;

/// Every setting that can be set, with what it is where nobody said anything.
const KEYS: [(&str, &str); 12] = [
    ("jobs", "auto"),
    ("law", "adaptive"),
    ("max-cpu", "none"),
    ("max-io", "none"),
    ("max-memory", "none"),
    ("max-load", "none"),
    ("min-available", "none"),
    ("freeze-on-thrash", "off"),
    ("scope", "auto"),
    ("hold", "all"),
    ("heartbeat", "1"),
    ("max-wait", "default"),
];

/// No value is longer: it is kept, and told to every client.
const LONGEST_VALUE: usize = 40;

/// ... but the name of a cgroup: a container's has 64 digits, and lies below others.
const LONGEST_SCOPE: usize = 512;

/// Checks one setting as the command line would: the error is a sentence.
pub fn check(key: &str, value: &str) -> Result<(), String> {
    match key {
        _ if KEYS.iter().any(|&(known, _)| known == key) && value.len() > longest(key) => {
            Err(format!("{key}: {} characters say any value, that has {}", longest(key), value.len()))
        }
        "jobs" => values::jobs(key, value).map(drop),
        "max-cpu" | "max-io" | "max-memory" | "max-load" | "min-available" if value == "none" => Ok(()),
        "law" => values::law(key, value).map(drop),
        "max-load" => values::max_load(key, value).map(drop),
        "min-available" => values::reserve(key, value).map(drop),
        "freeze-on-thrash" => values::switch(key, value).map(drop),
        "scope" => values::scope(key, value).map(drop),
        "max-cpu" | "max-io" | "max-memory" => values::threshold(key, value).map(drop),
        "hold" => values::hold(key, value).map(drop),
        "heartbeat" => values::heartbeat(key, value).map(drop),
        "max-wait" if value == "default" => Ok(()),
        "max-wait" => values::wait(key, value).map(drop),
        _ => {
            let known: Vec<&str> = KEYS.iter().map(|&(key, _)| key).collect();
            Err(format!("there is no setting '{key}': there are {}", known.join(", ")))
        }
    }
}

fn longest(key: &str) -> usize {
    if key == "scope" { LONGEST_SCOPE } else { LONGEST_VALUE }
}

/// One entry.
pub fn entry(value: impl Into<String>, from: impl Into<String>) -> SettingView {
    SettingView { value: value.into(), from: from.into() }
}

/// What was `set`, without what doesn't pass the check: it may come from another version.
pub fn of_set(set: &BTreeMap<String, String>) -> Layer {
    let good = set.iter().filter(|(key, value)| check(key, value).is_ok());
    good.map(|(key, value)| (key.clone(), entry(value, "jobgate set"))).collect()
}

/// The wishes of living clients, each with its name: the most jobs, the strictest thresholds, the shortest heartbeat. The
/// order in which they came says nothing.
///
/// `chosen`: the law that was set whatever they wish.
pub fn of_clients<'a>(
    cpus: u32,
    chosen: Option<Kind>,
    clients: impl Iterator<Item = (String, &'a Hello)> + Clone,
) -> Layer {
    let mut layer = of_law(clients.clone());
    let usual = chosen.or(law_of(&layer)).unwrap_or(law::USUAL).usual_ceiling(cpus);
    let mut note = |key: &str, value: String, from: String| {
        if check(key, &value).is_ok() {
            layer.insert(key.to_owned(), entry(value, from));
        }
    };
    let larger = clients.clone().filter(|(_, hello)| !hello.follows);
    let clients = clients.map(|(name, hello)| (name, &hello.wishes));
    let jobs = larger.map(|(name, hello)| (hello.wishes.jobs.unwrap_or(usual), name));
    if let Some((jobs, name)) = jobs.max_by(|a, b| a.0.cmp(&b.0)) {
        note("jobs", jobs.to_string(), name);
    }
    for resource in Resource::ALL {
        let word = resource.name();
        let max = clients.clone().filter_map(|(name, wishes)| Some((*wishes.max.get(word)?, name)));
        if let Some((max, name)) = max.min_by(|a, b| a.0.total_cmp(&b.0)) {
            note(&format!("max-{word}"), max.to_string(), name);
        }
    }
    // All is stricter, and usual; who watches nothing has no say.
    let watching = clients.clone().filter(|(_, wishes)| !wishes.max.is_empty());
    let hold = |wishes: &WishesSaid| wishes.hold.clone().unwrap_or_else(|| "all".to_owned());
    if let Some((name, wishes)) = watching.min_by_key(|(_, wishes)| hold(wishes)) {
        note("hold", hold(wishes), name);
    }
    let beats = clients.clone().filter_map(|(name, wishes)| Some((wishes.heartbeat_s?, name)));
    if let Some((seconds, name)) = beats.min_by(|a, b| a.0.total_cmp(&b.0)) {
        note("heartbeat", seconds.to_string(), name);
    }
    layer
}

/// What they wish of the law: the adaptive one where anybody wishes it, the largest reserves of memory, the lowest load.
fn of_law<'a>(clients: impl Iterator<Item = (String, &'a Hello)> + Clone) -> Layer {
    let clients = clients.map(|(name, hello)| (name, &hello.wishes));
    let mut layer = Layer::new();
    let laws = clients.clone().filter_map(|(name, wishes)| Some((wishes.law.clone()?, name)));
    let laws = laws.filter(|(law, _)| values::law("law", law).is_ok());
    if let Some((law, name)) = laws.min_by(|a, b| a.0.cmp(&b.0)) {
        layer.insert("law".to_owned(), entry(law, name));
    }
    let reserves = clients.clone().filter_map(|(name, wishes)| {
        Some((values::reserve("", wishes.min_available.as_deref()?).ok()?, name))
    });
    // A size and a part of all can't be compared here: the larger of both counts.
    let most = reserves.reduce(|(a, of_a), (b, of_b)| {
        let larger = Reserve { bytes: a.bytes.max(b.bytes), share: a.share.max(b.share) };
        let name = if larger == a {
            of_a
        } else if larger == b {
            of_b
        } else {
            format!("{of_a}, {of_b}")
        };
        (larger, name)
    });
    if let Some((reserve, name)) = most {
        layer.insert("min-available".to_owned(), entry(values::reserve_text(reserve), name));
    }
    if let Some((name, _)) = clients.clone().find(|(_, wishes)| wishes.freeze_on_thrash) {
        layer.insert("freeze-on-thrash".to_owned(), entry("on", name));
    }
    let loads = clients.clone().filter_map(|(name, wishes)| Some((wishes.max_load?, name)));
    if let Some((load, name)) = loads.filter(|(load, _)| *load > 0.0).min_by(|a, b| a.0.total_cmp(&b.0)) {
        layer.insert("max-load".to_owned(), entry(load.to_string(), name));
    }
    let scopes = clients.filter_map(|(name, wishes)| Some((wishes.scope.clone()?, name)));
    let scopes = scopes.filter(|(scope, _)| values::scope("scope", scope).is_ok());
    if let Some((scope, name)) = scopes.min_by(|a, b| a.0.cmp(&b.0)) {
        layer.insert("scope".to_owned(), entry(scope, name));
    }
    layer
}

/// All layers, the later above the earlier, as what they mean, as what `status` tells of them, and how long a client
/// that doesn't say waits for a lease.
pub fn resolve(cpus: u32, layers: &[&Layer]) -> (Settings, Layer, Option<Duration>) {
    let said = |key: &str| layers.iter().rev().find_map(|layer| layer.get(key));
    let known = KEYS.map(|(key, default)| {
        (key.to_owned(), said(key).cloned().unwrap_or_else(|| entry(default, "default")))
    });
    let all = Layer::from(known);
    let value = |key: &str| all[key].value.as_str();
    let mut thresholds = Thresholds::default();
    for resource in Resource::ALL {
        let key = format!("max-{}", resource.name());
        thresholds.set(resource, values::threshold(&key, value(&key)).ok().map(|(threshold, _)| threshold));
    }
    let law = law::Terms {
        kind: values::law("law", value("law")).unwrap_or(law::USUAL),
        reserve: values::reserve("min-available", value("min-available")).ok(),
        freezes: values::switch("freeze-on-thrash", value("freeze-on-thrash")).unwrap_or(false),
    };
    let usual = law.kind.usual_ceiling(cpus).min(values::MOST_JOBS);
    let jobs = values::jobs("jobs", value("jobs")).ok().flatten().unwrap_or(usual);
    let settings = Settings {
        thresholds,
        hold: values::hold("hold", value("hold")).unwrap_or(Hold::All),
        heartbeat: values::heartbeat("heartbeat", value("heartbeat")).unwrap_or(DEFAULT_HEARTBEAT),
        law,
        max_load: values::max_load("max-load", value("max-load")).ok(),
        ..Settings::new(jobs, cpus)
    };
    let wait = values::wait("max-wait", value("max-wait")).ok();
    (settings, all, wait)
}

/// The law in a layer, if it says one.
pub fn law_of(layer: &Layer) -> Option<Kind> {
    values::law("law", &layer.get("law")?.value).ok()
}

/// Whose cpus and pressure count, by all layers together.
pub fn scope_of(all: &Layer) -> Scope {
    all.get("scope").and_then(|scope| values::scope("scope", &scope.value).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(jobs: Option<u32>, cpu: Option<f64>, hold: Option<&str>, beat: Option<f64>) -> Hello {
        let wishes = WishesSaid {
            jobs,
            max: cpu.map(|cpu| ("cpu".to_owned(), cpu)).into_iter().collect(),
            hold: hold.map(str::to_owned),
            heartbeat_s: beat,
            ..WishesSaid::default()
        };
        Hello { wishes, ..Hello::default() }
    }

    #[test]
    fn a_gate_of_its_clients_doesnt_depend_on_their_order() {
        let mut clients = [
            ("a".to_owned(), wishes(Some(3), Some(50_000.0), Some("starts"), None)),
            ("b".to_owned(), wishes(Some(8), None, None, Some(0.5))),
            ("c".to_owned(), wishes(Some(5), Some(20_000.0), Some("all"), Some(2.0))),
        ];
        let mut seen = Vec::new();
        for _ in 0..clients.len() {
            clients.rotate_left(1);
            let layer = of_clients(2, None, clients.iter().map(|(name, wishes)| (name.clone(), wishes)));
            let (settings, all, _) = resolve(2, &[&layer]);
            assert_eq!((settings.jobs, settings.hold), (8, Hold::All));
            assert_eq!(settings.heartbeat, Duration::from_millis(500));
            assert_eq!(all["max-cpu"], entry("20000", "c"));
            assert_eq!(all["jobs"], entry("8", "b"));
            seen.push(settings);
        }
        seen.dedup();
        assert_eq!(seen.len(), 1);
    }

    #[test]
    fn a_law_is_its_clients_too() {
        let with = |law: Option<&str>, reserve: Option<&str>, load| {
            let text = |text: Option<&str>| text.map(str::to_owned);
            let (law, min_available) = (text(law), text(reserve));
            let wishes = WishesSaid { law, min_available, max_load: load, ..WishesSaid::default() };
            Hello { wishes, ..Hello::default() }
        };
        let of = |clients: &[Hello], set: Option<Kind>| {
            let layer = of_clients(2, set, clients.iter().map(|hello| ("x".to_owned(), hello)));
            resolve(2, &[&layer]).0
        };
        let (plain, fixed, adaptive) =
            (with(None, None, None), with(Some("fixed"), None, None), with(Some("adaptive"), None, None));
        let kind = |clients: &[Hello]| of(clients, None).law.kind;
        assert_eq!(kind(&[plain.clone(), adaptive.clone(), fixed.clone()]), Kind::Adaptive);
        assert_eq!(kind(&[plain.clone(), fixed.clone()]), Kind::Fixed);
        assert_eq!(kind(&[plain.clone(), with(Some("newer"), None, None)]), law::USUAL);
        assert_eq!((of(&[adaptive], None).jobs, of(&[fixed], None).jobs), (8, 2));
        assert_eq!(of(&[plain], Some(Kind::Fixed)).jobs, 2, "it was set");
        let two = [with(None, Some("1G"), Some(3.0)), with(None, Some("10%,500M"), Some(2.0))];
        let settings = of(&two, None);
        assert_eq!(settings.law.reserve, Some(Reserve { bytes: 1 << 30, share: 0.1 }));
        assert_eq!(settings.max_load, Some(2.0));
    }

    #[test]
    fn who_follows_makes_no_gate_larger() {
        let jobs = |follows: bool| {
            let clients =
                [wishes(Some(1), None, None, None), Hello { follows, ..wishes(None, Some(5e4), None, None) }];
            let layer = of_clients(2, None, clients.iter().map(|hello| ("x".to_owned(), hello)));
            let settings = resolve(2, &[&layer]).0;
            (settings.jobs, settings.thresholds.get(Resource::Cpu).is_some())
        };
        assert_eq!((jobs(true), jobs(false)), ((1, true), (8, true)));
    }

    #[test]
    fn starts_only_where_nobody_wants_all() {
        let hold = |clients: &[Hello]| {
            let layer = of_clients(2, None, clients.iter().map(|wishes| ("x".to_owned(), wishes)));
            resolve(2, &[&layer]).0.hold
        };
        let starts = wishes(None, Some(5e4), Some("starts"), None);
        assert_eq!(hold(&[starts.clone(), wishes(None, None, None, None)]), Hold::Starts);
        assert_eq!(hold(&[starts.clone(), wishes(None, Some(9e4), None, None)]), Hold::All);
        assert_eq!(hold(&[]), Hold::All);
    }

    #[test]
    fn what_was_set_is_above_all() {
        let base = Layer::from([("jobs".to_owned(), entry("4", "the file"))]);
        let set =
            of_set(&[("jobs".to_owned(), "6".to_owned()), ("heartbeat".to_owned(), "0".to_owned())].into());
        let (settings, all, wait) = resolve(2, &[&base, &set]);
        assert_eq!((settings.jobs, settings.heartbeat, wait), (6, DEFAULT_HEARTBEAT, None));
        assert_eq!((&all["jobs"], &all["hold"]), (&entry("6", "jobgate set"), &entry("all", "default")));
    }

    #[test]
    fn bad_settings_are_told_apart() {
        let rows = [
            ("jobs", "0", "jobs '0': give a number"),
            ("max-cpu", "0.5", "max-cpu 0.5 is too low"),
            ("heartbeat", "0", "heartbeat '0'"),
            ("max-wait", "-1", "max-wait '-1'"),
            ("hold", "x", "hold 'x'"),
            ("law", "none", "law 'none'"),
            ("max-load", "0", "max-load '0'"),
            ("min-available", "x", "min-available 'x'"),
            ("scope", "x", "scope 'x'"),
            ("joobs", "1", "there is no setting 'joobs': there are jobs, law, max-cpu"),
        ];
        for (key, value, why) in rows {
            let said = check(key, value).unwrap_err();
            assert!(said.starts_with(why), "{said}");
        }
        for (key, value) in [
            ("jobs", "auto"),
            ("max-io", "none"),
            ("max-wait", "default"),
            ("hold", "starts"),
            ("max-load", "none"),
        ] {
            assert_eq!(check(key, value), Ok(()));
        }
        let container = format!("cgroup:/system.slice/docker-{}.scope", "0".repeat(64));
        assert_eq!(check("scope", &container), Ok(()));
        for (key, most) in [("scope", 512), ("jobs", 40)] {
            let why = format!("{key}: {most} characters say any value, that has 600");
            assert_eq!(check(key, &"x".repeat(600)), Err(why));
        }
    }
}
