//! What a journal says: one JSON object a line, a header first, then what has changed; and the tolerant reader of it.
//!
//! Doesn't know how records are made (`recorder`), nor what is read out of them (`scene`). Moments are microseconds of the
//! gate's own clock, exact, so that what was judged by them can be judged again. Fields may be added, none is taken away.

use super::sample::Sample;
use super::set::Set;
use super::view::{PartsView, ReasonView};
use super::wire;
use serde::{Deserialize, Serialize};

/// The format's version.
pub const VERSION: u32 = 1;

/// How every journal begins.
const BEGINNING: &[u8] = b"{\"header\":{\"journal\":";

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A gate is described from here on, and first all that is there; what was said before is over.
    Header(Box<Header>),
    /// Other settings.
    Settings(Box<Settings>),
    /// How the machine stood, as the regulator was told. What is before its header's moment is what it still knew.
    Sample(Sample),
    /// Pressure can't be read any more: nothing is judged by it.
    Blind(At),
    /// How large jobs become, as far as is known from before.
    JobSize(JobSize),
    /// The gate is in another state, or for other resources.
    Gate(Gate),
    /// Another limit.
    Limit(Limit),
    /// A client is there.
    Join(Box<Join>),
    /// What has changed of clients, at most once a tick.
    Clients(Changes),
    /// A client is gone.
    Leave(Total),
    /// A beat, and the sums at it.
    Beat(Beat),
    /// So many records are missing before the header that stands before this.
    Dropped(Dropped),
    /// The gate is gone, a header follows when there is one again.
    Gone(Gone),
    /// Nothing follows; how much each client that is still there has had.
    End(End),
}

/// Where and when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// The format's version.
    pub journal: u32,
    /// The program's.
    pub program: String,
    /// The kernel's release.
    pub kernel: String,
    /// Usable cpus.
    pub cpus: u32,
    /// The process whose gate it is: a server, or a run that has its own.
    pub pid: u32,
    /// Where that listens; empty for a run's own.
    pub socket: String,
    /// The moment of this record.
    pub t: u64,
    /// The same for people: microseconds since 1970, UTC.
    pub unix_us: u64,
    /// The settings.
    pub settings: Set,
}

/// A moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct At {
    /// When.
    pub t: u64,
}

/// Settings from a moment on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// When.
    pub t: u64,
    /// What.
    pub now: Set,
}

/// What is known of the jobs of those who are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobSize {
    /// When.
    pub t: u64,
    /// How large one becomes; 0: that isn't known.
    pub bytes: u64,
}

/// The gate's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gate {
    /// When.
    pub t: u64,
    /// `open`, `held` or `recovering`.
    pub state: String,
    /// What is over its threshold; while that stays the same resources they aren't told again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<ReasonView>,
}

/// The limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limit {
    /// When.
    pub t: u64,
    /// How many jobs may run.
    pub limit: u32,
    /// It grows back after a hold.
    #[serde(skip_serializing_if = "is_no")]
    pub growing_back: bool,
    /// What bounds it: `ceiling`, `cpu`, `io`, `memory` or `growth`.
    pub tightest: String,
    /// What each part of the law says. It isn't told again while the limit and what bounds it stay the same.
    #[serde(skip_serializing_if = "PartsView::is_empty")]
    pub parts: PartsView,
}

/// Who a client is, and what it asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Join {
    /// When this was written: at its coming, or after a header.
    pub t: u64,
    /// When it came.
    pub since: u64,
    /// Its number.
    pub id: u64,
    /// Its user.
    pub uid: u32,
    /// Its proxy's process; 0 where that isn't shown.
    pub pid: i32,
    /// What it runs.
    pub label: String,
    /// `pipe`, `fifo`, `held` or `exec`.
    pub style: String,
    /// What it waits for before it starts, at least and at most; none: it doesn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<(u32, u32)>,
    /// It pays for its first job.
    pub pays: bool,
    /// Seconds after which its wait ends; 0: never; none: as the gate has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_wait_s: Option<f64>,
    /// The most that it may have.
    pub cap: u32,
    /// Its share.
    pub weight: u32,
    /// It was started in a job that may pay for it; who has the same number was started in the same one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inside: Option<u64>,
    /// It takes tokens; else it has its lease and nothing more.
    pub takes: bool,
}

/// What has changed of clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Changes {
    /// When this was written: a change is older by less than a tick.
    pub t: u64,
    /// Each that has changed.
    pub of: Vec<Change>,
    /// The most that ran at once, all together, since such a record was last written, where that is more than then and now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<u32>,
}

/// What has changed of one. Figures are tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Change {
    /// Who.
    pub id: u64,
    /// Leased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<u32>,
    /// What its tree may hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allotment: Option<u32>,
    /// What it holds, as far as the gate was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<u32>,
    /// It can use all that it gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hungry: Option<bool>,
    /// ... or so much beside its lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<u32>,
    /// It waits for its lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<bool>,
    /// It runs on the payment of the job that it was started in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub borrowed: Option<bool>,
    /// Its lease was granted above the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overdue: Option<bool>,
    /// Job control has stopped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<bool>,
    /// The most that ran since it was last written down, where that is more than then and now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<u32>,
}

/// What a client has had since the header, or since it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Total {
    /// When.
    pub t: u64,
    /// Who.
    pub id: u64,
    /// Tokens times seconds: its lease and what it held, as far as the gate was told; nothing while it was stopped.
    pub token_s: f64,
    /// Seconds that it waited for its lease.
    pub waited_s: f64,
    /// The most that ran at once.
    pub peak: u32,
}

/// A beat, and sums over all clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Beat {
    /// When.
    pub t: u64,
    /// Its number.
    pub beat: u64,
    /// How many have come too late to fire so far.
    pub missed: u64,
    /// How many jobs may run.
    pub limit: u32,
    /// Leases.
    pub leased: u32,
    /// Tokens held.
    pub held: u32,
    /// What all pay for.
    pub charge: u32,
    /// Clients.
    pub clients: u32,
    /// ... that wait for a lease.
    pub waiting: u32,
    /// ... that could use more than they have.
    pub wanting: u32,
}

/// A gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dropped {
    /// When there was room again.
    pub t: u64,
    /// How many records are missing.
    pub records: u64,
}

/// The end of a gate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gone {
    /// The last moment that was told of.
    pub t: u64,
    /// A sentence.
    pub why: String,
}

/// The end of a journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct End {
    /// When.
    pub t: u64,
    /// Of each client that is still there.
    pub of: Vec<Total>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) fn is_no(flag: &bool) -> bool {
    !flag
}

impl Record {
    /// Its moment.
    pub fn t(&self) -> u64 {
        match self {
            Record::Header(header) => header.t,
            Record::Settings(settings) => settings.t,
            Record::Sample(sample) => sample.t,
            Record::Blind(at) => at.t,
            Record::JobSize(size) => size.t,
            Record::Gate(gate) => gate.t,
            Record::Limit(limit) => limit.t,
            Record::Join(join) => join.t,
            Record::Clients(changes) => changes.t,
            Record::Leave(total) => total.t,
            Record::Beat(beat) => beat.t,
            Record::Dropped(dropped) => dropped.t,
            Record::Gone(gone) => gone.t,
            Record::End(end) => end.t,
        }
    }
}

/// Records as they are written.
pub fn text(records: &[Record]) -> Vec<u8> {
    records.iter().flat_map(wire::line).collect()
}

/// Whether a file that begins so is a journal, of whatever version.
pub fn is_one(beginning: &[u8]) -> bool {
    beginning.starts_with(BEGINNING)
}

/// Why a text can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoJournal {
    /// It is something else.
    Another,
    /// Of a version that isn't known here.
    Version(u32),
}

/// The records of a journal, as far as it goes.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    skipped: u64,
    cut: bool,
}

impl<'a> Reader<'a> {
    /// Of the whole text; nothing of it is read before it is asked for, but the first line.
    pub fn new(text: &'a [u8]) -> Result<Reader<'a>, NoJournal> {
        let reader = Reader { rest: text, skipped: 0, cut: false };
        let end = text.iter().position(|&byte| byte == b'\n');
        if !is_one(text) {
            // Or it is cut off before it has said what it is.
            let is_begun = end.is_none() && BEGINNING.starts_with(text);
            return if is_begun { Ok(reader) } else { Err(NoJournal::Another) };
        }
        let Some(end) = end else { return Ok(reader) };
        match wire::read::<Record>(&text[..end]) {
            Ok(Some(Record::Header(header))) if header.journal == VERSION => Ok(reader),
            Ok(Some(Record::Header(header))) => Err(NoJournal::Version(header.journal)),
            _ => Err(NoJournal::Another),
        }
    }

    /// Lines so far that are no records: of a newer program's, or damaged.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Whether the last line has no end; it isn't read.
    pub fn is_cut(&self) -> bool {
        self.cut
    }
}

impl Iterator for Reader<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') else {
                self.cut |= !self.rest.is_empty();
                self.rest = &[];
                return None;
            };
            let (line, rest) = self.rest.split_at(end);
            self.rest = &rest[1..];
            match serde_json::from_slice(line) {
                Ok(Record::Header(header)) if header.journal != VERSION => self.skipped += 1,
                Ok(record) => return Some(record),
                Err(_) => self.skipped += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> Vec<Record> {
        vec![
            Record::Header(Box::new(Header { journal: VERSION, t: 5, ..Header::default() })),
            Record::Sample(Sample { t: 5, cpu: Some(7), ..Sample::default() }),
            Record::Clients(Changes {
                t: 6,
                of: vec![Change { id: 1, held: Some(2), ..Change::default() }],
                peak: None,
            }),
            Record::End(End { t: 9, of: Vec::new() }),
        ]
    }

    #[test]
    fn a_journal_cut_anywhere_is_read_up_to_the_cut() {
        let (records, whole) = (journal(), text(&journal()));
        assert!(is_one(&whole), "{}", String::from_utf8_lossy(&whole));
        for cut in 0..=whole.len() {
            let mut reader = Reader::new(&whole[..cut]).expect("the beginning of one");
            let read: Vec<Record> = reader.by_ref().collect();
            let lines = whole[..cut].iter().filter(|&&byte| byte == b'\n').count();
            assert_eq!(read, records[..lines], "{cut}");
            assert_eq!(reader.is_cut(), cut > 0 && whole[cut - 1] != b'\n', "{cut}");
            assert_eq!(reader.skipped(), 0, "{cut}");
        }
    }

    #[test]
    fn what_is_newer_or_damaged_is_passed_over() {
        let text = String::from_utf8(text(&journal())).unwrap();
        let text = text.replacen('\n', "\n{\"dance\":{\"t\":5}}\n\u{0}\u{0}{\"sample\":\n", 1);
        let mut reader = Reader::new(text.as_bytes()).unwrap();
        assert_eq!((reader.by_ref().collect::<Vec<_>>(), reader.skipped()), (journal(), 2));
    }

    #[test]
    fn what_is_none_is_told_from_what_is_newer() {
        let rows: [(&str, NoJournal); 6] = [
            ("hello\n", NoJournal::Another),
            ("{ \"header\":{\"journal\":1}}\n", NoJournal::Another),
            ("{\"header\":{}}\n", NoJournal::Another),
            ("{\"sample\":{\"t\":1}}\n", NoJournal::Another),
            ("{\"hea\n", NoJournal::Another),
            ("{\"header\":{\"journal\":2,\"t\":1}}\n", NoJournal::Version(2)),
        ];
        for (text, why) in rows {
            assert_eq!(Reader::new(text.as_bytes()).map(|_| ()), Err(why), "{text}");
        }
    }
}
