//! What proxies and the server say to each other: one JSON object a line, the first one with the protocol's version.
//!
//! Doesn't know sockets, nor what is done about a message. Unknown fields are passed over, so that a newer minor version
//! may add some; another major version isn't spoken to.

use super::journal::Record;
use super::view::View;
use crate::policy::account;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The protocol, `major.minor`.
pub const PROTOCOL: &str = "1.1";

/// The longest line that a server takes.
pub const LONGEST_LINE: usize = 16 * 1024;

/// The style of a client that can't take tokens, and holds what it was leased: a tool that knows no jobserver ...
pub const HELD: &str = "held";

/// ... and one that `exec` runs, which says nothing of the gate's settings.
pub const EXEC: &str = "exec";

/// What a client says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The first line.
    Hello(Box<Hello>),
    /// How the client's endpoint stands.
    Report(Report),
    /// A lease that was granted is in use: the command is being started.
    Started,
    /// The command was started, as this process: what else is a child of the client's is an orphan, whose job has ended.
    Command {
        /// Its process id, as the client sees it.
        pid: i32,
    },
    /// Job control stopped the tree.
    Stopped,
    /// The tree goes on.
    Continued,
    /// Asks for a `Status`.
    Status,
    /// Has the asker's clients (whoever rules the gate: all) count what they hold, and report it.
    Count,
    /// Asks why it waits: a `Why`.
    Why,
    /// Changes the running gate.
    Set(BTreeMap<String, String>),
    /// Asks to be told what keeps builds from running more jobs, in a `Brake` now, and whenever that changes. Since 1.1.
    Brake,
    /// Asks to be told all that happens, in `Journal`s, from how things stand on; asked again: anew from there. Since 1.1.
    Journal,
}

/// Who a client is and what it asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// `major.minor`.
    pub protocol: String,
    /// The program's version, for people.
    pub version: String,
    /// Nothing is asked for but answers to `Status` and `Set`.
    pub asks_only: bool,
    /// The sender's own idea of its process id, for people; what counts is what the kernel says.
    pub pid: i32,
    /// For people.
    pub label: String,
    /// `pipe` or `fifo`, for people; or `HELD` or `EXEC`.
    pub style: String,
    /// What it pays before it starts.
    pub lease: LeaseAsked,
    /// The most of the jobs that it may have, its lease counted in.
    pub cap: Option<u32>,
    /// Its share beside others, 1 where it isn't said.
    pub weight: Option<u32>,
    /// Seconds after which its lease is granted above the limit; 0: never.
    pub max_wait_s: Option<f64>,
    /// What it wishes of a gate that exists for its clients.
    pub wishes: WishesSaid,
    /// It runs inside a paid job; counts only where the server can't see its ancestors.
    pub inside: bool,
    /// Another process whose descendants are this client's tree.
    pub bound_to: Option<i32>,
    /// Nobody waits for a token there yet: an interactive shell.
    pub idle: bool,
    /// The process whose job pays for this one, if it is a user's own: who asked for a build whose tasks hang elsewhere.
    pub lender: Option<i32>,
    /// It takes the gate as large as others want it.
    pub follows: bool,
    /// What it has from a server that is gone.
    pub claim: Option<Claim>,
    /// The last `set` that it was told of.
    pub set: BTreeMap<String, String>,
}

/// What a client pays for its implicit slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseAsked {
    /// Nothing: an interactive shell.
    #[default]
    Nothing,
    /// One that somebody else has paid for already: counted at once.
    Counted,
    /// At least `min` tokens, at most `max`; waited for.
    Wait {
        /// 1 or more.
        min: u32,
        /// `min` or more.
        max: u32,
    },
}

/// What a `run` asks of a gate that is its own or its user's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WishesSaid {
    /// `-j`.
    pub jobs: Option<u32>,
    /// Thresholds by `cpu`, `io`, `memory`, in us per second.
    pub max: BTreeMap<String, f64>,
    /// `all` or `starts`.
    pub hold: Option<String>,
    /// Seconds.
    pub heartbeat_s: Option<f64>,
    /// `adaptive` or `fixed`.
    pub law: Option<String>,
    /// As typed: `2G`, `10%`.
    pub min_available: Option<String>,
    /// Jobs may be stopped while everything waits for memory.
    pub freeze_on_thrash: bool,
    /// Load average per cpu.
    pub max_load: Option<f64>,
    /// As typed: `auto`, `host`, `cgroup`, `cgroup:PATH`.
    pub scope: Option<String>,
}

/// What is out already when a client meets a new server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Claim {
    /// Tokens leased.
    pub lease: u32,
    /// The lease was lent by the job it runs in.
    pub borrowed: bool,
    /// Tokens that its tree may hold.
    pub allotment: u32,
    /// Tokens that it holds.
    pub held: u32,
    /// Job control has stopped it.
    pub stopped: bool,
}

/// How a client's endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The number of the allotment in force.
    pub serial: u64,
    /// Tokens held.
    pub held: u32,
    /// What is known of its appetite, if that is news.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appetite: Option<Appetite>,
}

/// How many tokens a tree could use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Appetite {
    /// It took all it was allotted.
    Full,
    /// It left some standing for its patience, and used so many meanwhile.
    Slack(u32),
}

impl From<Report> for account::Report {
    fn from(said: Report) -> account::Report {
        let appetite = said.appetite.map(|appetite| match appetite {
            Appetite::Full => account::Appetite::Full,
            Appetite::Slack(used) => account::Appetite::Slack(used),
        });
        account::Report { serial: said.serial, held: said.held, appetite }
    }
}

impl From<Claim> for account::Claim {
    fn from(said: Claim) -> account::Claim {
        let Claim { lease, borrowed, allotment, held, stopped } = said;
        account::Claim { lease, borrowed, allotment, held, stopped }
    }
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The answer to `Hello`.
    Welcome(Welcome),
    /// It isn't spoken to, and why.
    Refused {
        /// A sentence.
        why: String,
        /// It is what was asked for that can't be, at no gate.
        #[serde(default)]
        request: bool,
    },
    /// The lease is there.
    Granted(Granted),
    /// The tree may hold so many.
    Allot {
        /// Tokens.
        tokens: u32,
        /// What a report names once this is in force.
        serial: u64,
        /// Somebody else waits for tokens: appetite is to be watched closely.
        #[serde(default)]
        pressed: bool,
    },
    /// What is held is to be counted, and reported.
    Count,
    /// Why it waits.
    Why {
        /// A sentence.
        why: String,
    },
    /// How things stand.
    Status(Box<View>),
    /// The `set` was done; also told to every client, to be remembered.
    Set {
        /// All that was ever set.
        set: BTreeMap<String, String>,
    },
    /// What keeps builds from running more jobs.
    Brake {
        /// `cpu`, `io`, `memory` or `load`, for which the gate is held; `law-io` or `law-memory`; none.
        by: Option<String>,
    },
    /// What has happened.
    Journal {
        /// In the order in which it did.
        records: Vec<Record>,
    },
}

/// The first line back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Welcome {
    /// `major.minor`.
    pub protocol: String,
    /// The client's number.
    pub id: u64,
    /// What the user should know, each once.
    pub notices: Vec<String>,
    /// The most tokens that may be out as things are.
    #[serde(default)]
    pub jobs: u32,
}

/// A lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Granted {
    /// How many tokens, a borrowed one counted in.
    pub tokens: u32,
    /// One of them is lent by the job it runs in.
    pub borrowed: bool,
}

/// Whether that protocol's major version is ours.
pub fn is_spoken(protocol: &str) -> bool {
    let major = |text: &str| text.split('.').next().map(str::to_owned);
    major(protocol) == major(PROTOCOL)
}

/// Whether who speaks that protocol tells a journal.
pub fn tells_journals(protocol: &str) -> bool {
    let minor = protocol.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    is_spoken(protocol) && minor.is_some_and(|minor| minor >= 1)
}

/// One line, its end included.
pub fn line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("messages have text keys and finite numbers");
    line.push(b'\n');
    line
}

/// Reads one line. `Ok(None)`: a message that a newer version knows; the error: not a message at all.
pub fn read<M: serde::de::DeserializeOwned>(line: &[u8]) -> Result<Option<M>, String> {
    match serde_json::from_slice(line) {
        Ok(message) => Ok(Some(message)),
        Err(error) => match serde_json::from_slice::<serde_json::Value>(line) {
            Ok(serde_json::Value::Object(_) | serde_json::Value::String(_)) if error.is_data() => Ok(None),
            Ok(_) | Err(_) => Err(error.to_string()),
        },
    }
}

/// Splits what comes over a socket into lines.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Where the next line begins, and up to where it has no end.
    start: usize,
    seen: usize,
}

impl Lines {
    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        (self.start, self.seen) = (0, self.seen - self.start);
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line, without its end.
    pub fn next_line(&mut self) -> Option<Vec<u8>> {
        let Some(end) = self.bytes[self.seen..].iter().position(|&byte| byte == b'\n') else {
            self.seen = self.bytes.len();
            if !self.is_amid() {
                // Nothing is kept of what is over: it may have been long.
                *self = Lines::default();
            }
            return None;
        };
        let line = self.bytes[self.start..self.seen + end].to_vec();
        self.start = self.seen + end + 1;
        self.seen = self.start;
        Some(line)
    }

    /// Whether a line has begun and not ended.
    pub fn is_amid(&self) -> bool {
        self.start < self.bytes.len()
    }

    /// Whether the one that has begun is longer than any may be. To be asked when there is no whole one.
    pub fn is_too_long(&self) -> bool {
        self.holds_more_than(LONGEST_LINE)
    }

    /// Whether more than so many bytes wait here, lines and what has begun of one.
    pub fn holds_more_than(&self, most: usize) -> bool {
        self.bytes.len() - self.start > most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_way() {
        let requests = [
            Request::Hello(Box::new(Hello {
                protocol: PROTOCOL.into(),
                lease: LeaseAsked::Wait { min: 1, max: 4 },
                claim: Some(Claim { lease: 1, held: 3, ..Claim::default() }),
                set: [("jobs".to_owned(), "4".to_owned())].into(),
                ..Hello::default()
            })),
            Request::Report(Report { serial: 3, held: 2, appetite: Some(Appetite::Slack(1)) }),
            Request::Started,
            Request::Status,
        ];
        let mut lines = Lines::default();
        for request in &requests {
            let text = line(request);
            let (first, second) = text.split_at(text.len() / 2);
            lines.push(first);
            assert!(lines.is_amid() && lines.next_line().is_none());
            lines.push(second);
            assert_eq!(read::<Request>(&lines.next_line().unwrap()), Ok(Some(request.clone())));
        }
        assert!(!lines.is_amid());
    }

    #[test]
    fn lines_are_split_wherever_they_are_cut() {
        let text = b"one\n\ntwo\nthree\n";
        for size in 1..=text.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for piece in text.chunks(size) {
                lines.push(piece);
                found.extend(std::iter::from_fn(|| lines.next_line()));
            }
            assert_eq!(found, [&b"one"[..], b"", b"two", b"three"], "{size}");
            assert!(!lines.is_amid() && lines.bytes.capacity() == 0, "nothing is kept");
        }
        let mut lines = Lines::default();
        lines.push(&[b'x'; LONGEST_LINE]);
        assert!(lines.next_line().is_none() && !lines.is_too_long());
        lines.push(b"x");
        assert!(lines.next_line().is_none() && lines.is_too_long());
        lines.push(b"\ny");
        assert_eq!(lines.next_line().map(|line| line.len()), Some(LONGEST_LINE + 1));
        assert!(lines.is_amid() && lines.next_line().is_none() && !lines.is_too_long());
    }

    #[test]
    fn what_is_newer_is_passed_over_and_garbage_is_not() {
        let report = r#"{"report":{"serial":3,"held":2,"mood":"good"}}"#;
        let known = Request::Report(Report { serial: 3, held: 2, appetite: None });
        assert_eq!(read::<Request>(report.as_bytes()), Ok(Some(known)));
        assert_eq!(read::<Request>(br#"{"dance":{"steps":3}}"#), Ok(None));
        assert_eq!(read::<Request>(br#""dance""#), Ok(None));
        for garbage in ["", "{", "7", "GET / HTTP/1.1", "{\"report\":\u{0}}"] {
            assert!(read::<Request>(garbage.as_bytes()).is_err(), "{garbage:?}");
        }
        assert!(
            tells_journals("1.1")
                && tells_journals("1.10")
                && !tells_journals("1.0")
                && !tells_journals("2.3")
        );
        assert!(is_spoken("1.7") && !is_spoken("2.0") && !is_spoken("") && !is_spoken("10"));
    }
}
