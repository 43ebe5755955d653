//! The values in a configuration file, each judged, with the line of what is wrong.
//!
//! Doesn't know the file's shape: it is told which value stands for which key.

use super::{BadConfig, Jobs, Listed, MOST_JOBS, Name};
use crate::policy::gate::{BadThreshold, Hold, Threshold};
use crate::policy::ticker;
use crate::proto::argv::NumberOption;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use toml::{Spanned, Value};

/// The longest `max-wait` but for ever, in seconds: a year stays addable to any moment.
const LONGEST_WAIT: f64 = 365.0 * 24.0 * 3600.0;

/// Of a value that is wrong, an error shows so many characters at the most.
const SHOWN: usize = 40;

/// The text, for the lines and the spelling of what stands in it.
#[derive(Clone, Copy)]
pub(super) struct Source<'a>(pub(super) &'a str);

impl Source<'_> {
    fn line(self, span: &Range<usize>) -> usize {
        let before = self.0.get(..span.start).unwrap_or(self.0);
        1 + before.bytes().filter(|&byte| byte == b'\n').count()
    }

    /// The value as its author wrote it, cut where it is long.
    fn written(self, value: &Spanned<Value>) -> String {
        let written = self.0.get(value.span()).unwrap_or_default();
        let shown: String = written.chars().take_while(|&c| c != '\n').take(SHOWN).collect();
        if shown.len() < written.len() { shown.trim_end().to_owned() + "..." } else { shown }
    }

    fn fault(self, span: &Range<usize>, what: String) -> BadConfig {
        BadConfig { line: self.line(span), what }
    }

    pub(super) fn toml_fault(self, error: &toml::de::Error) -> BadConfig {
        // Without a span it is about the whole file.
        self.fault(&error.span().unwrap_or_default(), error.message().replace('\n', ", "))
    }

    pub(super) fn tools(
        self,
        tools: &BTreeMap<Spanned<String>, Spanned<Value>>,
    ) -> Result<Vec<(String, NumberOption)>, BadConfig> {
        let read = |(name, value): (&Spanned<String>, &Spanned<Value>)| {
            let text = name.get_ref();
            if text.is_empty() || text.starts_with('.') || text.contains('/') || text == "jobgate" {
                return Err(self.fault(&name.span(), format!("tools: {text:?} is no name of a program")));
            }
            let option = value.get_ref().as_str().and_then(NumberOption::parse).ok_or_else(|| {
                let what =
                    format!("tools: {text} = {}: give its option, as in \"-j{{}}\"", self.written(value));
                self.fault(&value.span(), what)
            })?;
            Ok((text.clone(), option))
        };
        tools.iter().map(read).collect()
    }

    pub(super) fn threshold(
        self,
        key: &str,
        value: &Spanned<Value>,
        warnings: &mut Vec<String>,
    ) -> Result<Threshold, BadConfig> {
        let written = self.written(value);
        match Threshold::new(number(value).unwrap_or(f64::NAN)) {
            Ok(threshold) => {
                if threshold.is_lax() {
                    warnings.push(format!(
                        "{key} {written} will hardly ever hold: pressure can't exceed 1000000 us per second"
                    ));
                }
                Ok(threshold)
            }
            Err(bad) => {
                let why = match bad {
                    BadThreshold::NotANumber => "is not a number of microseconds per second",
                    BadThreshold::BelowOne => "is too low: the minimum is 1.0 microsecond per second",
                };
                Err(self.fault(&value.span(), format!("{key} {written} {why}")))
            }
        }
    }

    pub(super) fn jobs(self, value: &Spanned<Value>) -> Result<Jobs, BadConfig> {
        if value.get_ref().as_str() == Some("auto") {
            return Ok(Jobs::Auto);
        }
        match self.count("jobs", value, MOST_JOBS) {
            Ok(count) => Ok(Jobs::Count(count)),
            Err(BadConfig { line, what }) => Err(BadConfig { line, what: what + ", or \"auto\"" }),
        }
    }

    pub(super) fn count(self, key: &str, value: &Spanned<Value>, most: u32) -> Result<u32, BadConfig> {
        match value.get_ref().as_integer().map(u32::try_from) {
            Some(Ok(count)) if (1..=most).contains(&count) => Ok(count),
            Some(_) | None => {
                let written = self.written(value);
                let what = format!("{key} {written}: give a whole number from 1 to {most}");
                Err(self.fault(&value.span(), what))
            }
        }
    }

    pub(super) fn hold(self, value: &Spanned<Value>) -> Result<Hold, BadConfig> {
        match value.get_ref().as_str() {
            Some("all") => Ok(Hold::All),
            Some("starts") => Ok(Hold::Starts),
            Some(_) | None => {
                let what = format!("hold {}: give \"all\" or \"starts\"", self.written(value));
                Err(self.fault(&value.span(), what))
            }
        }
    }

    /// Unlike a user's own, who would rather have his build go on, a bad one in a file is an error.
    pub(super) fn heartbeat(self, value: &Spanned<Value>) -> Result<Duration, BadConfig> {
        number(value).and_then(ticker::heartbeat).ok_or_else(|| {
            let what = format!("heartbeat {}: give a number of seconds above 0", self.written(value));
            self.fault(&value.span(), what)
        })
    }

    pub(super) fn max_load(self, value: &Spanned<Value>) -> Result<f64, BadConfig> {
        number(value).filter(|load| *load > 0.0).map(|load| load.min(1e12)).ok_or_else(|| {
            let what = format!("max-load {}: give a number above 0", self.written(value));
            self.fault(&value.span(), what)
        })
    }

    /// A text that is read as the command line reads it.
    pub(super) fn text<T>(
        self,
        key: &str,
        value: &Spanned<Value>,
        read: impl Fn(&str, &str) -> Result<T, String>,
    ) -> Result<T, BadConfig> {
        let why = match value.get_ref().as_str().map(|text| read(key, text)) {
            Some(Ok(read)) => return Ok(read),
            Some(Err(why)) => why,
            None => format!("{key} {}: give a text", self.written(value)),
        };
        Err(self.fault(&value.span(), why))
    }

    pub(super) fn max_wait(self, value: &Spanned<Value>) -> Result<Duration, BadConfig> {
        match number(value) {
            Some(0.0) => Ok(Duration::ZERO),
            // Not rounded down to zero, which means something else.
            Some(seconds @ 0.0..=LONGEST_WAIT) => {
                Ok(Duration::from_secs_f64(seconds).max(Duration::from_nanos(1)))
            }
            Some(_) | None => {
                let written = self.written(value);
                let what = format!(
                    "max-wait {written}: give 0 (for ever) or up to {LONGEST_WAIT:.0} seconds (a year)"
                );
                Err(self.fault(&value.span(), what))
            }
        }
    }

    pub(super) fn list(
        self,
        key: &str,
        id: &str,
        values: &[Spanned<Value>],
    ) -> Result<Vec<Listed>, BadConfig> {
        let listed = values.iter().map(|value| {
            let name = match value.get_ref() {
                Value::String(text) => name(text),
                Value::Integer(number) => u32::try_from(*number).ok().and_then(id_number),
                _ => None,
            };
            match name {
                Some(name) => Ok(Listed { name, line: self.line(&value.span()) }),
                None => {
                    let what = format!("{key}: {} is neither a name nor a {id}", self.written(value));
                    Err(self.fault(&value.span(), what))
                }
            }
        });
        listed.collect()
    }

    pub(super) fn quotas(
        self,
        users: &BTreeMap<Spanned<String>, Spanned<Value>>,
    ) -> Result<Vec<(Listed, u32)>, BadConfig> {
        let mut quotas: Vec<(Listed, u32)> = Vec::new();
        for (key, value) in users {
            let text = key.get_ref();
            let fault = |why| Err(self.fault(&key.span(), format!("quota of '{text}': {why}")));
            let Some(name) = name(text) else {
                return fault("that is neither a name nor a uid");
            };
            // "07" and "7" are two keys.
            if quotas.iter().any(|(listed, _)| listed.name == name) {
                return fault("this user has one already");
            }
            let count = self.count(&format!("quota of '{text}',"), value, MOST_JOBS)?;
            quotas.push((Listed { name, line: self.line(&key.span()) }, count));
        }
        Ok(quotas)
    }
}

/// A number, whole or not.
fn number(value: &Spanned<Value>) -> Option<f64> {
    let value = value.get_ref();
    value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
}

/// What a text names: digits alone are a number, as no system lets a name be.
fn name(text: &str) -> Option<Name> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().and_then(id_number);
    }
    // Names with a space in them come from directories of other systems ("domain users").
    let odd = |c: char| c.is_control() || c == ':';
    (!text.is_empty() && !text.contains(odd)).then(|| Name::Text(text.to_owned()))
}

/// The largest is nobody's: chown(2) reads it as "leave as it is".
fn id_number(number: u32) -> Option<Name> {
    (number != u32::MAX).then_some(Name::Number(number))
}
