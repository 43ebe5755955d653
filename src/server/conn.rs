//! One connection: lines in, lines out, both bounded.
//!
//! Doesn't know what the lines mean.

use super::around::Anchor;
use crate::policy::account::ClientId;
use crate::policy::summary::Brake;
use crate::policy::time::Moment;
use crate::proto::wire::{Hello, Lines};
use crate::sys::socket::Peer;
use mio::net::UnixStream;
use std::io::{self, Read, Write};
use std::time::Duration;

/// A client that leaves so much unread, beside one answer that it asked for, is gone for us.
const MOST_UNREAD: usize = 32 * 1024;

/// The first line, and the rest of a line that has begun, must come within this.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// So much is read at once ...
const BITE: usize = 4096;

/// ... and so much in one turn.
const MOST_IN_A_TURN: usize = 4 * BITE;

/// What has become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It hasn't said hello.
    Fresh,
    /// It only asks.
    Asker,
    /// It is this client.
    Client(ClientId),
}

/// What is there to be heard.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A line, without its end.
    Line(Vec<u8>),
    /// No whole one; more of it is an event.
    Nothing,
    /// There may be more, but it was heard long enough.
    Enough,
}

/// See the module.
#[derive(Debug)]
pub struct Conn {
    pub stream: UnixStream,
    pub peer: Peer,
    pub state: State,
    /// What it said of itself, as far as that is made use of.
    pub hello: Box<Hello>,
    /// Whose descendants are its tree.
    pub anchors: Vec<Anchor>,
    /// How often it has reported.
    pub reports: u64,
    /// The largest job seen in its tree, in bytes.
    pub job_bytes: u64,
    /// The process of its command.
    pub command: Option<i32>,
    /// It runs in a job that is paid for: it has no say in the settings.
    pub is_guest: bool,
    /// What it was last told that keeps builds from running more jobs, where it has asked.
    pub brake: Option<Option<Brake>>,
    /// Why it won't be served; it is told when it has said hello.
    pub refusal: Option<String>,
    /// It is to be closed once all is sent, and was to be since then.
    pub ending: Option<Moment>,
    /// It is over, and will be taken away.
    pub is_lost: bool,
    /// Room to write is waited for, too.
    pub awaits_room: bool,
    /// Since when the other side owes us the rest of a line.
    owes: Option<Moment>,
    lines: Lines,
    /// More may be there to be read.
    is_readable: bool,
    /// Read in this turn.
    read: usize,
    unsent: Vec<u8>,
    /// The answer that may be among it, however long.
    answer: usize,
}

impl Conn {
    pub fn new(stream: UnixStream, peer: Peer, now: Moment) -> Conn {
        Conn {
            stream,
            peer,
            state: State::Fresh,
            hello: Box::default(),
            anchors: Vec::new(),
            reports: 0,
            job_bytes: 0,
            command: None,
            is_guest: false,
            brake: None,
            refusal: None,
            ending: None,
            is_lost: false,
            awaits_room: false,
            owes: Some(now),
            lines: Lines::default(),
            is_readable: true,
            read: 0,
            unsent: Vec::new(),
            answer: 0,
        }
    }

    /// Its number as a client.
    pub fn id(&self) -> Option<ClientId> {
        match self.state {
            State::Client(id) => Some(id),
            State::Fresh | State::Asker => None,
        }
    }

    /// Another turn: there is something to be read.
    pub fn start_turn(&mut self) {
        (self.is_readable, self.read) = (true, 0);
    }

    /// The next line. It is read for only where none is left, so that no more than one line and a bite are kept. The
    /// error: the other side is gone, or says too much.
    pub fn hear(&mut self, now: Moment) -> io::Result<Heard> {
        let mut bite = [0; BITE];
        loop {
            if let Some(line) = self.lines.next_line() {
                self.owes = self.lines.is_amid().then_some(now);
                return Ok(Heard::Line(line));
            }
            if self.lines.is_too_long() {
                return Err(io::Error::other("a line too long"));
            }
            if !self.is_readable {
                let owes = self.lines.is_amid() || self.state == State::Fresh;
                self.owes = owes.then(|| self.owes.unwrap_or(now));
                return Ok(Heard::Nothing);
            }
            if self.read >= MOST_IN_A_TURN {
                return Ok(Heard::Enough);
            }
            match self.stream.read(&mut bite) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.read += count;
                    self.lines.push(&bite[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// When it is over if nothing comes, or goes.
    pub fn due(&self) -> Option<Moment> {
        // While it doesn't read it isn't heard: it can't bring what it owes.
        let owes = self.owes.filter(|_| self.is_flushed() && self.ending.is_none());
        owes.into_iter().chain(self.ending).min().map(|since| since + DEADLINE)
    }

    /// Sends a line that it didn't ask for, as far as it can be sent now. The error: it is gone, or doesn't read.
    pub fn send(&mut self, line: &[u8]) -> io::Result<()> {
        if self.unsent.len() + line.len() > MOST_UNREAD + self.answer {
            return Err(io::Error::other("it doesn't read"));
        }
        self.unsent.extend(line);
        self.flush()
    }

    /// Sends an answer, likewise, but of any length: to be called only while all has been sent, so that there is one.
    pub fn answer(&mut self, line: &[u8]) -> io::Result<()> {
        self.answer = line.len();
        self.send(line)
    }

    /// Sends what is left.
    pub fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        let end = loop {
            if sent == self.unsent.len() {
                break Ok(());
            }
            match self.stream.write(&self.unsent[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        if sent == self.unsent.len() {
            // Nothing is kept of an answer that was long.
            (self.unsent, self.answer) = (Vec::new(), 0);
        } else {
            self.unsent.drain(..sent);
        }
        end
    }

    /// Whether there is room for something that it can do without.
    pub fn has_room(&self) -> bool {
        self.unsent.len() <= MOST_UNREAD / 2 + self.answer
    }

    /// Whether all has been sent.
    pub fn is_flushed(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Bytes that it hasn't read, beside what the kernel keeps.
    pub fn unread(&self) -> usize {
        self.unsent.len()
    }
}
