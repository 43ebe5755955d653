//! A proxy's line to the shared gate: hello, the wait for the lease, then allotments down and reports up.
//!
//! Doesn't know endpoints. When the server is gone the link says so; what was had from it stays in force until somebody
//! else has been asked.

mod asks;

use super::tale::Tale;
use crate::policy::account::ClientId;
use crate::policy::appetite::{Appetite as Tracker, Word};
use crate::policy::summary::Brake;
use crate::policy::time::Moment;
use crate::proto::view::View;
use crate::proto::wire::{self, Appetite, Claim, Granted, Hello, Lines, Reply, Report, Request};
use crate::sys::say::say;
use crate::sys::socket::{self, Place};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A server answers within microseconds; one that doesn't for so long is no gate.
const ANSWER: Duration = Duration::from_secs(2);

/// The first allotment comes with the welcome, or once a server has recovered.
const ALLOTMENT: Duration = Duration::from_millis(300);

/// Who waits longer for its lease is told why.
const TELL_WHY: Duration = Duration::from_secs(1);

/// Connections that end before a welcome: the server was just leaving.
const TRIES: u32 = 5;

/// A status of as many clients as a gate may have is shorter than this.
const MOST_SAID: usize = 32 * 1024 * 1024;

/// A server that hasn't read so much of ours is none.
const MOST_UNREAD: usize = 64 * 1024;

/// Why there is no link.
#[derive(Clone, Debug)]
pub enum NoLink {
    /// The gate has looked at what was asked for and says that it can't be.
    Refused(String),
    /// This gate can't be had: another may.
    Absent(String),
}

/// See the module.
#[derive(Debug)]
pub struct Link {
    place: Place,
    stream: UnixStream,
    lines: Lines,
    unsent: Vec<u8>,
    hello: Hello,
    /// What the server answered to it.
    greeting: Option<Result<(), NoLink>>,
    id: ClientId,
    notices: Vec<String>,
    jobs: u32,
    granted: Option<Granted>,
    /// The command's process.
    command: Option<i32>,
    /// Stopped by job control.
    stopped: bool,
    allotment: u32,
    /// Its number.
    serial: u64,
    /// The number of the one in force.
    in_force: u64,
    pressed: bool,
    /// The number of the allotment in force and what is held, as last told.
    reported: Option<(u64, u32)>,
    tracker: Tracker,
    /// A question for the status isn't answered.
    asks: bool,
    /// What is held is to be counted, and told.
    wants_count: bool,
    /// The answer to it.
    view: Option<Box<View>>,
    /// The gate's journal.
    tale: Tale,
}

impl Link {
    /// Connects to the gate at `place`, which is started where that may be, and says `hello`. `patience`: how long an offer
    /// may stand before the tree is known not to want it.
    pub fn open(place: &Place, hello: Hello, patience: Duration) -> Result<Link, NoLink> {
        let mut why = String::new();
        for _ in 0..TRIES {
            let stream = socket::connect(place)
                .map_err(|error| NoLink::Absent(format!("{}: {error}", place.socket.display())))?;
            let mut link = Link::over(stream, place, hello.clone(), patience);
            match link.shake_hands() {
                Ok(()) => return Ok(link),
                Err(Handshake::Over(error)) => why = error.to_string(),
                Err(Handshake::No(no)) => return Err(no),
            }
        }
        Err(NoLink::Absent(format!("{}: {why}", place.socket.display())))
    }

    fn over(stream: UnixStream, place: &Place, hello: Hello, patience: Duration) -> Link {
        Link {
            place: place.clone(),
            stream,
            lines: Lines::default(),
            unsent: Vec::new(),
            hello,
            greeting: None,
            id: 0,
            notices: Vec::new(),
            jobs: 0,
            granted: None,
            command: None,
            stopped: false,
            allotment: 0,
            serial: 0,
            in_force: 0,
            pressed: false,
            reported: None,
            tracker: Tracker::new(patience, Moment::default()),
            asks: false,
            wants_count: false,
            view: None,
            tale: Tale::default(),
        }
    }

    fn shake_hands(&mut self) -> Result<(), Handshake> {
        self.stream.set_read_timeout(Some(ANSWER)).map_err(Handshake::Over)?;
        self.stream.set_write_timeout(Some(ANSWER)).map_err(Handshake::Over)?;
        self.say(&Request::Hello(Box::new(self.hello.clone()))).map_err(Handshake::Over)?;
        match self.next_reply() {
            Ok(reply) => {
                self.greet(reply);
                self.greeting.clone().unwrap_or(Ok(())).map_err(Handshake::No)
            }
            Err(error) if is_timeout(&error) => {
                Err(Handshake::No(self.absent(&format!("no answer within {ANSWER:?}"))))
            }
            Err(error) => Err(Handshake::Over(error)),
        }
    }

    /// Takes the answer to a hello.
    fn greet(&mut self, reply: Reply) {
        self.greeting = Some(match reply {
            Reply::Welcome(welcome) if !wire::is_spoken(&welcome.protocol) => {
                Err(self.absent(&format!("it speaks protocol {:?}", welcome.protocol)))
            }
            Reply::Welcome(welcome) => {
                self.tale.can_be_had = wire::tells_journals(&welcome.protocol);
                (self.id, self.notices, self.jobs) = (welcome.id, welcome.notices, welcome.jobs);
                Ok(())
            }
            Reply::Refused { why, request: true } => Err(NoLink::Refused(why)),
            Reply::Refused { why, .. } => Err(self.absent(&why)),
            _ => Err(self.absent("it doesn't say welcome")),
        });
    }

    fn absent(&self, why: &str) -> NoLink {
        NoLink::Absent(format!("{}: {why}", self.place.socket.display()))
    }

    /// The most tokens that might be out when it came.
    pub fn jobs(&self) -> u32 {
        self.jobs
    }

    /// What the server wants its user to know, once.
    pub fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Waits for the lease, as long as it takes; says why, where that is long. The error: the server is gone, or it was
    /// `given_up`, which is looked at once a second and when it comes.
    pub fn await_lease(&mut self, given_up: impl Fn() -> bool) -> io::Result<Granted> {
        self.stream.set_read_timeout(Some(TELL_WHY))?;
        let mut told = false;
        loop {
            match self.next_reply() {
                Ok(Reply::Granted(_)) if given_up() => return Err(io::ErrorKind::Interrupted.into()),
                Ok(Reply::Granted(granted)) => {
                    self.granted = Some(granted);
                    self.say(&Request::Started)?;
                    return Ok(granted);
                }
                Ok(Reply::Why { why }) => say(&format!("waiting for a job: {why}")),
                Ok(reply) => self.take(reply),
                Err(error) if is_timeout(&error) && given_up() => return Err(error),
                Err(error) if is_timeout(&error) => {
                    if !std::mem::replace(&mut told, true) {
                        self.say(&Request::Why)?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The gate's socket.
    pub fn socket(&self) -> &std::path::Path {
        &self.place.socket
    }

    /// Waits for the first allotment, where no lease is waited for: what stands in the endpoint when the command starts is
    /// what its tools find. A server that has just taken another's place keeps it for a moment.
    pub fn await_allotment(&mut self) -> io::Result<()> {
        self.stream.set_read_timeout(Some(ALLOTMENT))?;
        while self.serial == 0 {
            match self.next_reply() {
                Ok(reply) => self.take(reply),
                Err(error) if is_timeout(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// From here on nothing is waited for.
    pub fn go_on(&mut self, now: Moment) -> io::Result<()> {
        self.tracker = Tracker::new(self.tracker.patience(), now);
        self.stream.set_nonblocking(true)
    }

    /// The descriptor to wait on.
    pub fn event(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Its number at the server.
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// Tokens that the tree may hold.
    pub fn allotment(&self) -> u32 {
        self.allotment
    }

    /// Others wait for what stands here.
    pub fn is_pressed(&self) -> bool {
        self.pressed
    }

    /// What was leased.
    pub fn granted(&self) -> Granted {
        self.granted.unwrap_or_default()
    }

    /// The last `set` that this gate's clients were told of.
    fn remember(&mut self, set: BTreeMap<String, String>) {
        self.hello.set = set;
    }

    /// Takes in what has come; the error: the server is gone.
    pub fn ready(&mut self) -> io::Result<()> {
        self.flush()?;
        let mut buffer = [0; 4096];
        let over = loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break Some(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.lines.push(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(error),
            }
            if self.lines.holds_more_than(MOST_SAID) {
                break Some(io::Error::other("it says too much"));
            }
        };
        while let Some(line) = self.lines.next_line() {
            if let Some(reply) = wire::read(&line).map_err(io::Error::other)? {
                self.take(reply);
            }
        }
        over.map_or(Ok(()), Err)
    }

    fn take(&mut self, reply: Reply) {
        if self.greeting.is_none() {
            return self.greet(reply);
        }
        match reply {
            Reply::Allot { tokens, serial, pressed } => {
                (self.allotment, self.serial, self.pressed) = (tokens, serial, pressed);
            }
            Reply::Status(view) => (self.asks, self.view) = (false, Some(view)),
            Reply::Set { set } => self.remember(set),
            Reply::Granted(granted) => self.granted = Some(granted),
            Reply::Brake { by } => self.tale.brake = by.and_then(|by| Brake::named(&by)),
            Reply::Journal { records } => self.tale.add(records),
            Reply::Refused { why, .. } if self.tale.is_wanted => say(&format!("there is no journal: {why}")),
            Reply::Count => self.wants_count = true,
            Reply::Welcome(_) | Reply::Refused { .. } | Reply::Why { .. } => {}
        }
    }

    /// Tells the server which process the command is.
    pub fn started(&mut self, pid: i32) -> io::Result<()> {
        self.command = Some(pid);
        self.say(&Request::Command { pid })
    }

    /// Tells the server of job control.
    pub fn stop(&mut self, stopped: bool) -> io::Result<()> {
        self.stopped = stopped;
        self.say(if stopped { &Request::Stopped } else { &Request::Continued })
    }

    /// The last allotment is in force: nothing stands beyond it.
    pub fn obeyed(&mut self) {
        if self.in_force != self.serial {
            self.in_force = self.serial;
            self.tracker.ask();
        }
    }

    /// Whether nobody is there who could take a token.
    pub fn deserted(&mut self, now: Moment, deserted: bool) {
        self.tracker.deserted(now, deserted);
    }

    /// Whether the server wants to know what is held at this moment.
    pub fn wants_count(&self) -> bool {
        self.wants_count
    }

    /// Has the server's clients count: what they report then is in the status a moment later.
    pub fn have_counted(&mut self) -> io::Result<()> {
        self.say(&Request::Count)
    }

    /// Tells the server how the endpoint stands, where that is news to it, or it asked: the allotment in force, every return of what is
    /// owed, that all is taken where it is thought to hold less, and appetite. Takings and returns within the allotment stay
    /// here.
    pub fn report(&mut self, now: Moment, in_force: u32, held: u32) -> io::Result<()> {
        self.tracker.saw(now, in_force, held);
        let appetite = self.tracker.poll(now).map(|word| match word {
            Word::Full => Appetite::Full,
            Word::Slack(used) => Appetite::Slack(used),
        });
        let news = match self.reported {
            None => true,
            Some((serial, before)) => {
                serial != self.in_force || (held != before && (held >= in_force || before > in_force))
            }
        };
        if !news && appetite.is_none() && !std::mem::take(&mut self.wants_count) {
            return Ok(());
        }
        (self.reported, self.wants_count) = (Some((self.in_force, held)), false);
        self.say(&Request::Report(Report { serial: self.in_force, held, appetite }))
    }

    /// When `report` is due by time alone.
    pub fn deadline(&self) -> Option<Moment> {
        self.tracker.deadline()
    }

    /// Nothing more is said or heard here.
    pub fn hang_up(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    /// Connects anew, to the next server, with what is had from the one that is gone. Its answer isn't waited for: `greeting`
    /// has it.
    pub fn renew(&self, now: Moment, in_force: u32, held: u32) -> Result<Link, NoLink> {
        let Granted { tokens, borrowed } = self.granted();
        let claim = Claim {
            lease: tokens - u32::from(borrowed).min(tokens),
            borrowed,
            allotment: in_force,
            held,
            stopped: self.stopped,
        };
        let hello = Hello { claim: Some(claim), ..self.hello.clone() };
        let absent = |error: io::Error| self.absent(&error.to_string());
        let stream = socket::connect(&self.place).map_err(absent)?;
        let mut link = Link::over(stream, &self.place, hello.clone(), self.tracker.patience());
        (link.granted, link.stopped, link.allotment) = (self.granted, self.stopped, in_force);
        link.go_on(now).map_err(absent)?;
        link.say(&Request::Hello(Box::new(hello))).map_err(absent)?;
        if let Some(pid) = self.command {
            link.started(pid).map_err(absent)?;
        }
        if self.asks {
            link.ask().map_err(absent)?;
        }
        self.ask_again(&mut link).map_err(absent)?;
        Ok(link)
    }

    /// What the server answered to a hello that `renew` said, if it has.
    pub fn greeting(&self) -> Option<Result<(), NoLink>> {
        self.greeting.clone()
    }

    /// Connects anew before anything was had.
    pub fn start_over(&self) -> Result<Link, NoLink> {
        let mut link = Link::open(&self.place, self.hello.clone(), self.tracker.patience())?;
        self.ask_again(&mut link).map_err(|error| self.absent(&error.to_string()))?;
        Ok(link)
    }

    fn say(&mut self, request: &Request) -> io::Result<()> {
        self.unsent.extend(wire::line(request));
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
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

    /// The next reply; waits for it.
    pub fn next_reply(&mut self) -> io::Result<Reply> {
        let mut buffer = [0; 4096];
        loop {
            while let Some(line) = self.lines.next_line() {
                if let Some(reply) = wire::read(&line).map_err(io::Error::other)? {
                    return Ok(reply);
                }
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.lines.push(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends one request and waits for the next reply: for those who only ask.
    pub fn question(&mut self, request: &Request) -> io::Result<Reply> {
        self.say(request)?;
        self.next_reply()
    }
}

/// What a handshake may end by.
enum Handshake {
    /// The connection ended: it may be tried again.
    Over(io::Error),
    /// An answer.
    No(NoLink),
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
