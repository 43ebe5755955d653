//! The server's journals: its own, in a folder, and those of who asked to be told; and the keeper of a journal in files.
//!
//! Doesn't know what is new (`proto/recorder`) nor how a file is written (`sys/scribe`). Who doesn't read what he is told, and
//! a disk that doesn't take what is written, has gaps, and is told how large they are; nobody waits for either.

use super::Server;
use super::conn::Conn;
use super::trust::Rulers;
use crate::policy::account::ClientId;
use crate::policy::summary::Brake;
use crate::policy::time::Moment;
use crate::proto::gap::{Gap, Weight};
use crate::proto::journal::{End, Record, text};
use crate::proto::recorder::{About, Recorder, Seen, Who, us};
use crate::proto::wire::{self, Reply};
use crate::sys::clock::wall_us;
use crate::sys::proc::kernel;
use crate::sys::say::say;
use crate::sys::scribe::Scribe;
use mio::Token;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Where journals take turns, one is as large as this, and a little more.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// So many are told to a stranger's connections ...
const MOST_OF_ONE: usize = 8;

/// ... and to all together; who rules has some more.
const MOST: usize = 64;

/// The kernel, the process, and its clock's begin, which is as far from now as `now` says.
pub fn about(now: Moment, socket: &Path) -> About {
    About {
        kernel: kernel(),
        pid: std::process::id(),
        socket: socket.display().to_string(),
        epoch_us: epoch(now),
    }
}

fn epoch(now: Moment) -> u64 {
    wall_us().saturating_sub(us(now))
}

/// A journal in a file, or in files that take turns.
#[derive(Debug)]
pub struct Keeper {
    scribe: Scribe,
    /// The file or the folder.
    name: PathBuf,
    recorder: Recorder,
    gap: Gap,
    /// The last moment that something was written of.
    last: u64,
    /// Bytes in this file, and how many are enough, where files take turns.
    bytes: u64,
    most: Option<u64>,
}

impl Keeper {
    /// In that file or folder; of a gate that is shown to it, or whose records are passed on. `most`: after so many bytes
    /// comes the folder's next.
    pub fn new(scribe: Scribe, name: PathBuf, about: About, most: Option<u64>) -> Keeper {
        Keeper { scribe, name, recorder: Recorder::new(about), gap: Gap::default(), last: 0, bytes: 0, most }
    }

    /// Begins to write: no process is forked by us from here on.
    pub fn start(&mut self) -> io::Result<()> {
        self.scribe.start()
    }

    /// When it is to be shown the gate although nothing has happened.
    pub fn deadline(&self) -> Option<Moment> {
        self.recorder.deadline()
    }

    /// Writes what is new.
    pub fn observe(&mut self, seen: &Seen) {
        let now = seen.now;
        self.gap.lose(now, self.scribe.lost());
        if self.gap.is_over(now) {
            self.recorder.begin_anew(epoch(now));
        }
        let records = self.recorder.observe(seen);
        self.write(now, records);
        if self.most.is_some_and(|most| self.bytes >= most) {
            let end = self.recorder.end(now);
            self.write(now, vec![end]);
            if self.scribe.turn() {
                self.bytes = 0;
            }
            self.recorder.begin_anew(epoch(now));
            let records = self.recorder.observe(seen);
            self.write(now, records);
        }
    }

    /// Writes records of another gate. `true`: some are missing, and it is to begin anew.
    pub fn pass_on(&mut self, now: Moment, records: Vec<Record>, missing: u64) -> bool {
        self.gap.lose(now, self.scribe.lost());
        self.gap.lose(now, Weight { records: missing, told: 0 });
        self.write(now, records);
        self.gap.is_over(now)
    }

    /// What is shown to it next is another gate, or the same anew.
    pub fn begin_anew(&mut self, now: Moment) {
        self.recorder.begin_anew(epoch(now));
    }

    /// The last moment that something was written of.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Writes these.
    pub fn write(&mut self, now: Moment, mut records: Vec<Record>) {
        let Some(last) = records.last().map(Record::t) else { return };
        if !self.gap.admit(now, &mut records, true) {
            return;
        }
        let (text, weight) = (text(&records), Weight::of(&records));
        self.last = last;
        let length = text.len() as u64;
        if self.scribe.write(text, weight) {
            self.bytes += length;
        } else {
            self.gap.lose(now, weight);
        }
    }

    /// The end, which is waited for, but not for long. What is missing is said. `is_shown`: the gate was shown to it.
    pub fn close(mut self, now: Moment, is_shown: bool) {
        let end =
            if is_shown { self.recorder.end(now) } else { Record::End(End { t: self.last, of: Vec::new() }) };
        self.write(now, vec![end]);
        let is_written = self.scribe.finish();
        self.gap.lose(now, self.scribe.lost());
        let name = self.name.display();
        if self.gap.all() > 0 {
            let why = self.scribe.why().unwrap_or_else(|| "the disk is too slow".to_owned());
            say(&format!("the journal {name} lacks {} records: {why}", self.gap.all()));
        } else if !is_written {
            say(&format!("the journal {name} lacks its end: the disk is too slow"));
        }
    }
}

/// Who is told.
#[derive(Debug)]
struct Listener {
    recorder: Recorder,
    gap: Gap,
}

/// All of a server's.
#[derive(Debug, Default)]
pub(super) struct Journals {
    own: Option<Keeper>,
    listeners: BTreeMap<Token, Listener>,
}

impl Journals {
    pub(super) fn is_any(&self) -> bool {
        self.own.is_some() || !self.listeners.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        let told = self.listeners.values().filter_map(|listener| listener.recorder.deadline());
        told.chain(self.own.as_ref().and_then(Keeper::deadline)).min()
    }
}

impl Server {
    /// Keeps a journal in a folder.
    pub fn keep_journal(&mut self, folder: PathBuf, scribe: Scribe) -> io::Result<()> {
        let now = self.clock.now();
        let mut keeper = Keeper::new(scribe, folder, about(now, &self.socket), Some(MOST_BYTES));
        keeper.start()?;
        self.journals.own = Some(keeper);
        self.journals_changed(now);
        Ok(())
    }

    /// Tells the one at the other end all that happens from here on.
    pub(super) fn tell_journal(&mut self, token: Token, now: Moment) {
        let Some(uid) = self.conns.get(&token).map(|conn| conn.peer.uid) else { return };
        let tokens = || self.journals.listeners.keys().filter(|&&other| other != token);
        let of_user = |token: &&Token| self.conns.get(token).is_some_and(|conn| conn.peer.uid == uid);
        let is_too_many = tokens().filter(of_user).count() >= MOST_OF_ONE || tokens().count() >= MOST;
        if is_too_many && !self.rulers.rules(uid) {
            let why = format!("the gate at {} tells its journal to too many already", self.socket.display());
            return self.send(token, &Reply::Refused { why, request: true });
        }
        // How things stood before is none of its business.
        self.settle(now);
        let recorder = Recorder::new(about(now, &self.socket));
        self.journals.listeners.insert(token, Listener { recorder, gap: Gap::default() });
        self.journals_changed(now);
        self.settle(now);
    }

    /// Tells the one at the other end what keeps builds from running more jobs.
    pub(super) fn tell_brake(&mut self, token: Token) {
        let brake = Brake::of(&self.regulator);
        if let Some(conn) = self.conns.get_mut(&token) {
            conn.brake = Some(brake);
            self.send(token, &Reply::Brake { by: brake.map(|brake| brake.name().to_owned()) });
        }
    }

    /// The same for all who have asked, and were told something else.
    pub(super) fn tell_brakes(&mut self) {
        let brake = Brake::of(&self.regulator);
        let is_news = |conn: &Conn| conn.brake.is_some_and(|told| told != brake);
        let tokens: Vec<Token> =
            self.conns.iter().filter(|(_, conn)| is_news(conn)).map(|(&token, _)| token).collect();
        tokens.into_iter().for_each(|token| self.tell_brake(token));
    }

    /// Nobody is there any more.
    pub(super) fn stop_telling(&mut self, token: Token, now: Moment) {
        if self.journals.listeners.remove(&token).is_some() {
            self.journals_changed(now);
        }
    }

    fn journals_changed(&mut self, now: Moment) {
        let is_any = self.journals.is_any();
        self.regulator.record(now, is_any);
        self.apply_settings(now);
    }

    /// Something may have happened.
    pub(super) fn record(&mut self, now: Moment) {
        if !self.journals.is_any() {
            return;
        }
        let mut journals = std::mem::take(&mut self.journals);
        if let Some(own) = &mut journals.own {
            let who = |id| self.who(id);
            own.observe(&Seen { now, regulator: &self.regulator, from: &self.all, who: &who });
        }
        let mut told = Vec::new();
        for (&token, listener) in &mut journals.listeners {
            told.extend(self.news(token, listener, now).map(|reply| (token, reply)));
        }
        self.journals = journals;
        for (token, (line, is_long)) in told {
            if is_long { self.answer(token, &line) } else { self.send_line(token, &line) }
        }
    }

    /// What one is told, and whether that may be long.
    fn news(&self, token: Token, listener: &mut Listener, now: Moment) -> Option<(Vec<u8>, bool)> {
        let conn = self.conns.get(&token).filter(|conn| !conn.is_lost)?;
        if conn.is_flushed() && listener.gap.is_over(now) {
            listener.recorder.begin_anew(epoch(now));
        }
        let uid = conn.peer.uid;
        let who = |id| self.who_for(id, uid, &self.rulers);
        let seen = Seen { now, regulator: &self.regulator, from: &self.all, who: &who };
        let mut records = listener.recorder.observe(&seen);
        if records.is_empty() {
            return None;
        }
        let is_long = matches!(records.first(), Some(Record::Header(_))) && conn.is_flushed();
        let room = is_long || conn.has_room();
        if !listener.gap.admit(now, &mut records, room) {
            return None;
        }
        Some((wire::line(&Reply::Journal { records }), is_long))
    }

    fn who_for(&self, id: ClientId, uid: u32, rulers: &Rulers) -> Who {
        let is_his = self.regulator.account(id).is_some_and(|account| account.terms().uid == uid);
        if is_his || rulers.rules(uid) { self.who(id) } else { anothers() }
    }

    /// Who a client is, for people.
    pub(super) fn who(&self, id: ClientId) -> Who {
        let conn: Option<&Conn> = self.clients.get(&id).and_then(|token| self.conns.get(token));
        conn.map_or_else(Who::default, |conn| Who {
            pid: self.pid_of(conn),
            label: conn.hello.label.clone(),
            style: conn.hello.style.clone(),
        })
    }

    /// The end of the own one.
    pub(super) fn close_journal(&mut self) {
        if let Some(own) = self.journals.own.take() {
            own.close(self.clock.now(), true);
        }
    }
}

/// What other users' clients are called: what they run is no concern of everybody's.
pub(super) fn anothers() -> Who {
    Who { label: "another user's".to_owned(), ..Who::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::account::{Lease, Terms};
    use crate::policy::regulator::{Input, Regulator};
    use crate::proto::journal::Reader;
    use crate::proto::scene::Scene;
    use crate::server::settings::resolve;
    use std::time::Duration;

    #[test]
    fn each_file_can_be_read_alone() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("journals");
        let (settings, from, _) = resolve(2, &[]);
        let at = |second| Moment::at(Duration::from_secs(second));
        let mut regulator = Regulator::new(settings, at(0));
        regulator.record(at(0), true);
        for id in [1, 2] {
            let terms = Terms {
                lease: Lease::Counted,
                cap: 4,
                weight: 1,
                max_wait: None,
                loan: None,
                idle: false,
                takes: true,
                uid: 7,
            };
            regulator.handle(at(0), Input::Join(id, terms, None));
        }
        let scribe = Scribe::into_folder(&name).unwrap();
        let mut keeper = Keeper::new(scribe, name.clone(), about(at(0), Path::new("s")), Some(3000));
        keeper.start().unwrap();
        for second in 1..=60 {
            regulator.handle(at(second), Input::Time);
            let who = |id: u64| Who { pid: id as i32, ..Who::default() };
            keeper.observe(&Seen { now: at(second), regulator: &regulator, from: &from, who: &who });
        }
        keeper.close(at(61), true);
        let mut files: Vec<_> = std::fs::read_dir(&name).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!((3..=8).contains(&files.len()), "{files:?}");
        let mut beat = 1;
        for file in &files {
            let text = std::fs::read(file).unwrap();
            assert!(text.len() < 3600, "{}", text.len());
            let records: Vec<Record> = Reader::new(&text).unwrap().collect();
            let mut scene = Scene::default();
            for record in &records {
                scene.take(record);
                if let Record::Beat(said) = record {
                    beat += 1;
                    assert_eq!(said.beat, beat, "none is missing");
                }
            }
            assert!(matches!(records[0], Record::Header(_)) && scene.is_over, "{records:?}");
            assert_eq!(scene.clients.values().map(|client| client.lease).collect::<Vec<_>>(), [1, 1]);
            assert_eq!(scene.clients[&2].join.pid, 2);
        }
    }
}
