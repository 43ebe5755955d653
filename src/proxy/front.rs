//! The front end: the endpoint that a tree sees, of either style.
//!
//! Doesn't know pressure or the limit, only the allotment.

use super::fifo_front::FifoFront;
use super::pipe_front::PipeFront;
use crate::policy::endpoint::{Endpoint, Oddities, Style, Wish};
use crate::policy::time::Moment;
use crate::proto::makeflags::Auth;
use mio::{Registry, Token};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub enum Front {
    /// A pipe pair.
    Pipe(PipeFront),
    /// A fifo.
    Fifo(FifoFront),
}

/// Runs the same call on whichever it is.
macro_rules! either {
    ($front:expr, $name:ident => $call:expr) => {
        match $front {
            Front::Pipe($name) => $call,
            Front::Fifo($name) => $call,
        }
    };
}

impl Front {
    /// Makes an endpoint. `beat`: after how long a fifo's tokens are written off when their holders are gone. The error
    /// says what could not be made.
    pub fn open(style: Style, beat: Duration) -> io::Result<Front> {
        let named = |what: &str, error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
        match style {
            Style::Pipe => match PipeFront::open() {
                Ok(pipe) => Ok(Front::Pipe(pipe)),
                Err(error) => Err(named("can't make a pipe", error)),
            },
            Style::Fifo => match FifoFront::open(beat) {
                Ok(fifo) => Ok(Front::Fifo(fifo)),
                Err(error) => Err(named("can't make a fifo", error)),
            },
        }
    }

    /// What the tree is told of it.
    pub fn auth(&self, old_make: bool) -> Auth {
        match self {
            Front::Pipe(pipe) => pipe.auth(),
            Front::Fifo(fifo) => Auth::Fifo { path: fifo.path().to_owned(), old_make },
        }
    }

    /// Where it lies, if it has a name.
    pub fn path(&self) -> Option<&std::path::Path> {
        match self {
            Front::Pipe(_) => None,
            Front::Fifo(fifo) => Some(fifo.path()),
        }
    }

    /// The descriptors that the tree inherits.
    pub fn inherited(&self) -> Vec<BorrowedFd<'_>> {
        either!(self, front => front.inherited())
    }

    /// Tells the loop what to wait for.
    pub fn register(&mut self, registry: &Registry) -> io::Result<()> {
        either!(self, front => front.register(registry))
    }

    /// Something happened on one of its descriptors.
    pub fn ready(&mut self, token: Token, now: Moment) -> io::Result<()> {
        either!(self, front => front.ready(token, now))
    }

    /// Time has passed.
    pub fn pass(&mut self, now: Moment) -> io::Result<()> {
        match self {
            Front::Pipe(_) => Ok(()),
            Front::Fifo(fifo) => fifo.pass(now),
        }
    }

    /// When it wants to be told so.
    pub fn deadline(&self) -> Option<Moment> {
        match self {
            Front::Pipe(_) => None,
            Front::Fifo(fifo) => fifo.deadline(),
        }
    }

    /// Looks how things stand right now.
    pub fn look(&mut self) -> io::Result<()> {
        either!(self, front => front.look())
    }

    fn endpoint(&self) -> &Endpoint {
        either!(self, front => front.endpoint())
    }

    /// Tokens the tree holds, as last seen.
    pub fn held(&self) -> u32 {
        self.endpoint().held()
    }

    /// What went wrong so far.
    pub fn oddities(&self) -> Oddities {
        self.endpoint().oddities()
    }

    /// The tree may hold so many; `settle` brings it about.
    pub fn allot(&mut self, tokens: u32) {
        either!(self, front => front.endpoint_mut()).allot(tokens);
    }

    /// Others wait for what stands: it is to be seen soon whether it is wanted.
    pub fn press(&mut self, pressed: bool) {
        if let Front::Fifo(fifo) = self {
            fifo.press(pressed);
        }
    }

    /// Nobody is there who could take a token, as far as can be known: a pipe is open for ever.
    pub fn is_deserted(&self) -> bool {
        match self {
            Front::Pipe(_) => false,
            Front::Fifo(fifo) => fifo.is_deserted(),
        }
    }

    /// Whether the allotment is in force: nothing stands beyond it.
    pub fn is_settled(&self) -> bool {
        !matches!(self.endpoint().wish(), Wish::Withdraw(_))
    }

    /// Offers and withdraws by the allotment.
    pub fn settle(&mut self, now: Moment) -> io::Result<()> {
        either!(self, front => front.settle(now))
    }
}
