//! One connection: lines in, lines out, both bounded.
//!
//! Doesn't know what the lines mean.

use crate::policy::account::ClientId;
use crate::policy::time::Moment;
use crate::proto::wire::{self, Hello, Lines, Reply};
use crate::sys::socket::Peer;
use mio::net::UnixStream;
use std::io::{self, Read, Write};
use std::time::Duration;

/// A client that doesn't read what it is told is gone for us.
const MOST_UNREAD: usize = 256 * 1024;

/// The first line, and the rest of a line that has begun, must come within this.
pub const DEADLINE: Duration = Duration::from_secs(5);

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

/// See the module.
#[derive(Debug)]
pub struct Conn {
    pub stream: UnixStream,
    pub peer: Peer,
    pub state: State,
    /// What it said of itself.
    pub hello: Box<Hello>,
    /// The process of its command.
    pub command: Option<i32>,
    lines: Lines,
    unsent: Vec<u8>,
    /// Room to write is waited for, too.
    pub awaits_room: bool,
    /// Since when the other side owes us the rest of a line.
    pub owes: Option<Moment>,
    /// It is to be closed once all is sent.
    pub ending: bool,
}

impl Conn {
    pub fn new(stream: UnixStream, peer: Peer, now: Moment) -> Conn {
        Conn {
            stream,
            peer,
            state: State::Fresh,
            hello: Box::default(),
            command: None,
            lines: Lines::default(),
            unsent: Vec::new(),
            awaits_room: false,
            owes: Some(now),
            ending: false,
        }
    }

    /// Its number as a client.
    pub fn id(&self) -> Option<ClientId> {
        match self.state {
            State::Client(id) => Some(id),
            State::Fresh | State::Asker => None,
        }
    }

    /// Reads what is there; the error: it is gone, or says too much.
    pub fn fill(&mut self, now: Moment) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.lines.push(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.lines.is_too_long() {
                return Err(io::Error::other("a line too long"));
            }
        }
        let owes = self.lines.is_amid() || self.state == State::Fresh;
        self.owes = owes.then(|| self.owes.unwrap_or(now));
        Ok(())
    }

    /// The next line that has come.
    pub fn next_line(&mut self) -> Option<Vec<u8>> {
        let line = self.lines.next_line();
        if line.is_some() && !self.lines.is_amid() {
            self.owes = None;
        }
        line
    }

    /// Sends a reply, as far as it can be sent now.
    pub fn send(&mut self, reply: &Reply) -> io::Result<()> {
        self.unsent.extend(wire::line(reply));
        self.flush()
    }

    /// Sends what is left.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.unsent.len() > MOST_UNREAD {
            return Err(io::Error::other("it doesn't read"));
        }
        Ok(())
    }

    /// Whether all has been sent.
    pub fn is_flushed(&self) -> bool {
        self.unsent.is_empty()
    }
}
