//! The configuration of the shared gate, from the text of its file to checked values.
//!
//! Doesn't know where the text was read, who the named users are, nor what holds where a key is missing.

mod values;

use crate::policy::gate::{Hold, Thresholds};
use crate::policy::law::Kind;
use crate::policy::law::memory::Reserve;
use crate::policy::pressure::Resource;
use crate::proto::argv::NumberOption;
use crate::proto::values::{Scope, law, reserve, scope, switch};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt::Formatter;
use std::marker::PhantomData;
use std::time::Duration;
use toml::{Spanned, Value};
use values::Source;

pub use crate::proto::values::MOST_JOBS;

/// The largest `connections`.
pub const MOST_CONNECTIONS: u32 = 65_536;

/// What a configuration file says; `None` or empty where it says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `jobs`: the most tokens that may ever be out.
    pub jobs: Option<Jobs>,
    /// `max-cpu`, `max-io`, `max-memory`.
    pub thresholds: Thresholds,
    /// `hold`: what a held gate holds back.
    pub hold: Option<Hold>,
    /// `heartbeat`: the time between two beats, 20 ms to 1 day.
    pub heartbeat: Option<Duration>,
    /// `max-wait`: how long a lease is waited for, up to a year; zero: for ever.
    pub max_wait: Option<Duration>,
    /// `max-weight`: the largest share of who isn't root or the service's owner, 1 to `MOST_JOBS`.
    pub max_weight: Option<u32>,
    /// `connections`: the most of one user, 1 to `MOST_CONNECTIONS`.
    pub connections: Option<u32>,
    /// `max-load`: the highest load average of the last minute per cpu.
    pub max_load: Option<f64>,
    /// `[law]`: by what the limit is found.
    pub law: Law,
    /// `[access]`: who may connect.
    pub access: Access,
    /// `[quota]`: the most tokens for one user.
    pub quota: Quota,
    /// `[tools]`: tools that know no jobserver, by their names, and how each is told its number of jobs.
    pub tools: Vec<(String, NumberOption)>,
}

/// `jobs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jobs {
    /// As many as there are usable cpus.
    Auto,
    /// So many, 1 to `MOST_JOBS`.
    Count(u32),
}

/// `[law]`: by what the limit is found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Law {
    /// `kind`.
    pub kind: Option<Kind>,
    /// `min-available`: what must stay available of memory.
    pub min_available: Option<Reserve>,
    /// `scope`: whose cpus and pressure count.
    pub scope: Option<Scope>,
    /// `freeze-on-thrash`: jobs may be stopped while everything waits for memory.
    pub freeze_on_thrash: Option<bool>,
}

/// `[access]`: who may connect. Where neither users nor groups are listed: everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// These users.
    pub users: Vec<Listed>,
    /// The members of these groups.
    pub groups: Vec<Listed>,
}

/// `[quota]`: the most tokens that one user's clients may have at once, 1 to `MOST_JOBS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// For each user who isn't listed.
    pub default: Option<u32>,
    /// For these. No name stands here twice, but two can still be one user's: `root` and `0`.
    pub users: Vec<(Listed, u32)>,
}

/// A name in the file, and where: whether somebody has it is found out later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub name: Name,
    /// The line it stands in, from 1.
    pub line: usize,
}

/// A user or group as it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// By its name.
    Text(String),
    /// By its uid or gid, a number or a text of digits.
    Number(u32),
}

/// Why a text is no configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadConfig {
    /// The line of the fault, from 1.
    pub line: usize,
    /// The fault, as a sentence that names key and value.
    pub what: String,
}

/// Reads the text of a file, and what its author should know although it stops nothing.
///
/// An unknown key is an error: a misspelt threshold would never hold.
pub fn parse(text: &str) -> Result<(Config, Vec<String>), BadConfig> {
    let source = Source(text);
    let raw: Raw = toml::from_str(text).map_err(|error| source.toml_fault(&error))?;
    let mut warnings = Vec::new();
    let mut thresholds = Thresholds::default();
    for resource in Resource::ALL {
        let value = match resource {
            Resource::Cpu => &raw.max_cpu,
            Resource::Io => &raw.max_io,
            Resource::Memory => &raw.max_memory,
        };
        if let Some(value) = value {
            let key = format!("max-{}", resource.name());
            thresholds.set(resource, Some(source.threshold(&key, value, &mut warnings)?));
        }
    }
    let config = Config {
        jobs: raw.jobs.map(|value| source.jobs(&value)).transpose()?,
        thresholds,
        hold: raw.hold.map(|value| source.hold(&value)).transpose()?,
        heartbeat: raw.heartbeat.map(|value| source.heartbeat(&value)).transpose()?,
        max_wait: raw.max_wait.map(|value| source.max_wait(&value)).transpose()?,
        max_weight: raw.max_weight.map(|value| source.count("max-weight", &value, MOST_JOBS)).transpose()?,
        connections: raw
            .connections
            .map(|value| source.count("connections", &value, MOST_CONNECTIONS))
            .transpose()?,
        max_load: raw.max_load.map(|value| source.max_load(&value)).transpose()?,
        law: Law {
            kind: raw.law.kind.map(|value| source.text("law kind", &value, law)).transpose()?,
            min_available: raw
                .law
                .min_available
                .map(|value| source.text("law min-available", &value, reserve))
                .transpose()?,
            scope: raw.law.scope.map(|value| source.text("law scope", &value, scope)).transpose()?,
            freeze_on_thrash: raw
                .law
                .freeze_on_thrash
                .map(|value| source.text("law freeze-on-thrash", &value, switch))
                .transpose()?,
        },
        access: Access {
            users: source.list("users", "uid", &raw.access.users)?,
            groups: source.list("groups", "gid", &raw.access.groups)?,
        },
        quota: Quota {
            default: raw
                .quota
                .default
                .map(|value| source.count("quota default", &value, MOST_JOBS))
                .transpose()?,
            users: source.quotas(&raw.quota.users)?,
        },
        tools: source.tools(&raw.tools)?,
    };
    Ok((config, warnings))
}

/// The file's shape; what the values mean is judged afterwards, where the sentence can be a better one.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    jobs: Option<Spanned<Value>>,
    max_cpu: Option<Spanned<Value>>,
    max_io: Option<Spanned<Value>>,
    max_memory: Option<Spanned<Value>>,
    hold: Option<Spanned<Value>>,
    heartbeat: Option<Spanned<Value>>,
    max_wait: Option<Spanned<Value>>,
    max_weight: Option<Spanned<Value>>,
    connections: Option<Spanned<Value>>,
    max_load: Option<Spanned<Value>>,
    #[serde(default, deserialize_with = "table")]
    law: RawLaw,
    #[serde(default, deserialize_with = "table")]
    access: RawAccess,
    #[serde(default, deserialize_with = "table")]
    quota: RawQuota,
    #[serde(default)]
    tools: BTreeMap<Spanned<String>, Spanned<Value>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawLaw {
    kind: Option<Spanned<Value>>,
    min_available: Option<Spanned<Value>>,
    scope: Option<Spanned<Value>>,
    freeze_on_thrash: Option<Spanned<Value>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAccess {
    #[serde(default)]
    users: Vec<Spanned<Value>>,
    #[serde(default)]
    groups: Vec<Spanned<Value>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawQuota {
    default: Option<Spanned<Value>>,
    #[serde(default)]
    users: BTreeMap<Spanned<String>, Spanned<Value>>,
}

/// A table and nothing else: derived code also takes an array for one, and `access = []` would let everybody in.
fn table<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<T, D::Error> {
    struct OnlyTable<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyTable<T> {
        type Value = T;

        fn expecting(&self, to: &mut Formatter<'_>) -> std::fmt::Result {
            to.write_str("a table")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }
    value.deserialize_map(OnlyTable(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::gate::Threshold;
    use crate::policy::ticker;

    fn ok(text: &str) -> Config {
        let (config, warnings) = parse(text).unwrap_or_else(|bad| panic!("{text:?}: {bad:?}"));
        assert_eq!(warnings, Vec::<String>::new(), "{text:?}");
        config
    }

    fn listed(name: Name, line: usize) -> Listed {
        Listed { name, line }
    }

    fn text(name: &str) -> Name {
        Name::Text(name.to_owned())
    }

    fn thresholds(cpu: Option<f64>, io: Option<f64>, memory: Option<f64>) -> Thresholds {
        Thresholds::from_fn(|resource| {
            [cpu, io, memory][resource as usize].map(|number| Threshold::new(number).unwrap())
        })
    }

    #[test]
    fn everything_at_once() {
        let config = ok(r#"
jobs = 16
max-cpu = 20000
max-io = 1.0
max-memory = 1e5
hold = "starts"
heartbeat = 0.25
max-wait = 90
max-weight = 4
connections = 65536
max-load = 1.5

[law]
kind = "adaptive"
min-available = "2G,10%"
scope = "cgroup:/builds"
freeze-on-thrash = "on"

[access]
users = ["alice", 1000,
         "1001"]
groups = ["domain users"]

[quota]
default = 8
[quota.users]
alice = 4096
"bob.smith" = 2
1000 = 1

[tools]
scons = "-j{}"
"#);
        assert_eq!(
            config,
            Config {
                jobs: Some(Jobs::Count(16)),
                thresholds: thresholds(Some(20000.0), Some(1.0), Some(100_000.0)),
                hold: Some(Hold::Starts),
                heartbeat: Some(Duration::from_millis(250)),
                max_wait: Some(Duration::from_secs(90)),
                max_weight: Some(4),
                connections: Some(65_536),
                max_load: Some(1.5),
                law: Law {
                    kind: Some(Kind::Adaptive),
                    min_available: Some(Reserve { bytes: 2 << 30, share: 0.1 }),
                    scope: Some(Scope::Cgroup(Some("/builds".into()))),
                    freeze_on_thrash: Some(true),
                },
                access: Access {
                    users: vec![
                        listed(text("alice"), 20),
                        listed(Name::Number(1000), 20),
                        listed(Name::Number(1001), 21),
                    ],
                    groups: vec![listed(text("domain users"), 22)],
                },
                quota: Quota {
                    default: Some(8),
                    users: vec![
                        (listed(Name::Number(1000), 29), 1),
                        (listed(text("alice"), 27), 4096),
                        (listed(text("bob.smith"), 28), 2),
                    ],
                },
                tools: vec![("scons".to_owned(), NumberOption::dash_j())],
            }
        );
    }

    #[test]
    fn what_is_missing_is_left_open() {
        for empty in ["", "# nothing\n", "[access]\n[quota]\n[quota.users]\n", "\u{feff}\r\n"] {
            assert_eq!(ok(empty), Config::default(), "{empty:?}");
        }
        assert_eq!(ok("jobs = \"auto\"").jobs, Some(Jobs::Auto));
        assert_eq!(ok("hold = \"all\"").hold, Some(Hold::All));
        assert_eq!(ok("jobs = 4_096").jobs, Some(Jobs::Count(4096)));
        assert_eq!(ok("max-wait = 0").max_wait, Some(Duration::ZERO));
        assert_eq!(ok("max-wait = -0.0").max_wait, Some(Duration::ZERO));
        assert_eq!(ok("max-wait = 1e-12").max_wait, Some(Duration::from_nanos(1)), "not for ever");
        assert_eq!(ok("heartbeat = 1e9").heartbeat, Some(Duration::from_secs(86_400)));
        assert_eq!(ok("quota.users.bob = 3").quota.users, [(listed(text("bob"), 1), 3)]);
    }

    #[test]
    fn faults_say_line_key_value_and_what_to_give() {
        let rows: [(&str, usize, &str); 47] = [
            ("\ntools.scons = \"-j\"", 2, "tools: scons = \"-j\": give its option, as in \"-j{}\""),
            ("tools.scons = 3", 1, "tools: scons = 3: give its option, as in \"-j{}\""),
            ("tools.\"a/b\" = \"-j{}\"", 1, "tools: \"a/b\" is no name of a program"),
            ("jobs = 0", 1, "jobs 0: give a whole number from 1 to 4096, or \"auto\""),
            ("\njobs = 4097", 2, "jobs 4097: give a whole number from 1 to 4096, or \"auto\""),
            ("\u{feff}\njobs = 0", 2, "jobs 0: give a whole number from 1 to 4096, or \"auto\""),
            ("jobs = -1", 1, "jobs -1: give a whole number from 1 to 4096, or \"auto\""),
            ("jobs = 2.0", 1, "jobs 2.0: give a whole number from 1 to 4096, or \"auto\""),
            ("jobs = \"8\"", 1, "jobs \"8\": give a whole number from 1 to 4096, or \"auto\""),
            ("jobs = [\n1]", 1, "jobs [...: give a whole number from 1 to 4096, or \"auto\""),
            (
                "#\n\n\r\n#\n#\n\nmax-cpu = 0.5\n#\n",
                7,
                "max-cpu 0.5 is too low: the minimum is 1.0 microsecond per second",
            ),
            ("max-io = -5", 1, "max-io -5 is too low: the minimum is 1.0 microsecond per second"),
            ("max-memory = nan", 1, "max-memory nan is not a number of microseconds per second"),
            ("max-cpu = \"20000\"", 1, "max-cpu \"20000\" is not a number of microseconds per second"),
            ("hold = \"none\"", 1, "hold \"none\": give \"all\" or \"starts\""),
            ("hold = true", 1, "hold true: give \"all\" or \"starts\""),
            ("max-load = 0", 1, "max-load 0: give a number above 0"),
            ("[law]\nkind = \"pid\"", 2, "law kind 'pid': give 'adaptive' or 'fixed'"),
            ("[law]\nmin-available = 5", 2, "law min-available 5: give a text"),
            ("[law]\nscope = \"x\"", 2, "law scope 'x': give 'auto', 'host', 'cgroup' or 'cgroup:PATH'"),
            ("[law]\nlaw = 1", 2, "unknown field `law`, expected one of `kind`"),
            ("\n\nheartbeat = 0", 3, "heartbeat 0: give a number of seconds above 0"),
            ("heartbeat = inf", 1, "heartbeat inf: give a number of seconds above 0"),
            ("heartbeat = \"1\"", 1, "heartbeat \"1\": give a number of seconds above 0"),
            ("max-wait = -1", 1, "max-wait -1: give 0 (for ever) or up to 31536000 seconds (a year)"),
            ("max-wait = 1e300", 1, "max-wait 1e300: give 0 (for ever) or up to 31536000 seconds (a year)"),
            ("max-wait = nan", 1, "max-wait nan: give 0 (for ever) or up to 31536000 seconds (a year)"),
            ("max-weight = 0", 1, "max-weight 0: give a whole number from 1 to 4096"),
            ("connections = 65537", 1, "connections 65537: give a whole number from 1 to 65536"),
            ("[access]\nusers = [\"a\",\n  \"\"]", 3, "users: \"\" is neither a name nor a uid"),
            ("[access]\nusers = [\"a:b\"]", 2, "users: \"a:b\" is neither a name nor a uid"),
            ("[access]\nusers = [-1]", 2, "users: -1 is neither a name nor a uid"),
            ("[access]\ngroups = [4294967295]", 2, "groups: 4294967295 is neither a name nor a gid"),
            ("[access]\ngroups = [\"4294967296\"]", 2, "groups: \"4294967296\" is neither a name nor a gid"),
            ("[access]\ngroups = [1.5]", 2, "groups: 1.5 is neither a name nor a gid"),
            ("[quota]\ndefault = 0", 2, "quota default 0: give a whole number from 1 to 4096"),
            ("[quota.users]\n\nbob = 0", 3, "quota of 'bob', 0: give a whole number from 1 to 4096"),
            ("[quota.users]\n\"a:b\" = 1", 2, "quota of 'a:b': that is neither a name nor a uid"),
            ("[quota.users]\n07 = 1\n7 = 1", 3, "quota of '7': this user has one already"),
            ("jobs = 1\njobs = 2", 2, "duplicate key"),
            ("jobs = 1\nmax-cup = 2", 2, "unknown field `max-cup`, expected one of"),
            ("[access]\nusers = []\njobs = 2", 3, "unknown field `jobs`, expected `users` or `groups`"),
            ("jobs = 1\n[quotas]\ndefault = 1", 2, "unknown field `quotas`"),
            ("access = []", 1, "invalid type: sequence, expected a table"),
            ("[access]\nusers = \"bob\"", 2, "invalid type: string \"bob\", expected a sequence"),
            ("[quota]\nusers = []", 2, "invalid type: sequence, expected a map"),
            ("\naccess = 5", 2, "invalid type: integer `5`, expected a table"),
        ];
        for (file, line, what) in rows {
            let bad = parse(file).unwrap_err();
            assert!(bad.what.starts_with(what), "{file:?}: {}", bad.what);
            assert_eq!(bad.line, line, "{file:?}: {}", bad.what);
        }
    }

    #[test]
    fn the_sample_says_nothing_until_its_keys_are_taken_in() {
        let sample = include_str!("../../scripts/jobgate.toml");
        assert_eq!(ok(sample), Config::default());
        let keys: String = sample.lines().map(|line| uncommented(line).to_owned() + "\n").collect();
        let config = ok(&keys);
        assert_eq!(config.jobs, Some(Jobs::Auto));
        assert_eq!(config.thresholds, thresholds(Some(100_000.0), Some(100_000.0), Some(50_000.0)));
        assert_eq!((config.hold, config.heartbeat), (Some(Hold::All), Some(ticker::DEFAULT_HEARTBEAT)));
        assert_eq!(config.max_load, Some(1.5));
        assert_eq!((config.law.kind, config.law.scope), (Some(Kind::Adaptive), Some(Scope::Auto)));
        assert_eq!(config.law.min_available, Some(Reserve { bytes: 0, share: 0.05 }));
        assert_eq!((config.max_wait, config.quota.default), (Some(Duration::from_secs(60)), Some(4)));
        assert_eq!((config.max_weight, config.connections), (Some(1), Some(1024)));
        let quotas: Vec<_> = config.quota.users.iter().map(|(listed, most)| (&listed.name, *most)).collect();
        assert_eq!(quotas, [(&Name::Number(1000), 8), (&text("root"), 2)]);
        assert_eq!(config.tools, [("scons".to_owned(), NumberOption::dash_j())]);
        for key in ["users", "groups"] {
            assert!(keys.contains(&format!("\n{key} = []\n")), "{key} is in it");
        }
    }

    /// A key of the sample is set off from its prose by the missing space.
    fn uncommented(line: &str) -> &str {
        line.strip_prefix('#').filter(|rest| rest.starts_with(char::is_alphanumeric)).unwrap_or(line)
    }

    #[test]
    fn text_that_is_no_toml_says_where() {
        let rows = [
            ("jobs\n", 1),
            ("\njobs = \n\n", 2),
            ("#\n[access\n", 2),
            ("hold = \"all\n\n\n", 1),
            ("\n\njobs = 99999999999999999999", 3),
            ("[access]\nusers = [\n1,\n", 3),
        ];
        for (file, line) in rows {
            let bad = parse(file).unwrap_err();
            assert_eq!(bad.line, line, "{file:?}: {}", bad.what);
            assert!(!bad.what.is_empty() && !bad.what.contains('\n'), "{file:?}: {}", bad.what);
        }
    }

    #[test]
    fn a_threshold_that_never_holds_is_warned_about() {
        for (file, warned) in [("max-io = 1_000_000", 0), ("max-io = 2e6", 1), ("max-io = inf", 1)] {
            assert_eq!(parse(file).unwrap().1.len(), warned, "{file}");
        }
        assert_eq!(
            parse("max-io = 2e6\nmax-cpu = 1000000.5").unwrap().1,
            [
                "max-cpu 1000000.5 will hardly ever hold: pressure can't exceed 1000000 us per second",
                "max-io 2e6 will hardly ever hold: pressure can't exceed 1000000 us per second",
            ]
        );
    }
}
