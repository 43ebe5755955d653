//! The pipe style: every taking and every return is an event, one token stands at a time.
//!
//! Doesn't know when a tool dies: what it held is back only when the tree has ended.

use super::token;
use crate::policy::endpoint::{Endpoint, Style, Wish};
use crate::policy::time::Moment;
use crate::proto::makeflags::Auth;
use crate::sys::pipe::PipePair;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// See the module.
#[derive(Debug)]
pub struct PipeFront {
    pipes: PipePair,
    endpoint: Endpoint,
}

impl PipeFront {
    /// Empty pipes.
    pub fn open() -> io::Result<PipeFront> {
        Ok(PipeFront { pipes: PipePair::new()?, endpoint: Endpoint::new(Style::Pipe) })
    }

    pub(super) fn auth(&self) -> Auth {
        let (read, write) = self.pipes.auth();
        Auth::Pipe { read, write }
    }

    pub(super) fn inherited(&self) -> Vec<BorrowedFd<'_>> {
        self.pipes.inherited().to_vec()
    }

    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        let taken = self.pipes.taken_event().as_raw_fd();
        let returned = self.pipes.returned_event().as_raw_fd();
        registry.register(&mut SourceFd(&taken), token::TAKEN, Interest::WRITABLE)?;
        registry.register(&mut SourceFd(&returned), token::RETURNED, Interest::READABLE)
    }

    pub(super) fn ready(&mut self, token: Token, _now: Moment) -> io::Result<()> {
        if token == token::RETURNED { self.collect() } else { self.look() }
    }

    /// After any wake-up the count of bytes is the truth.
    pub(super) fn look(&mut self) -> io::Result<()> {
        self.endpoint.saw(self.pipes.standing()?);
        Ok(())
    }

    fn collect(&mut self) -> io::Result<()> {
        let tokens = self.pipes.collect()?;
        if tokens > self.endpoint.held() {
            // Taken and returned before we came to look at the taking; else it is more than was ever taken.
            self.look()?;
        }
        self.endpoint.returned(tokens);
        Ok(())
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn endpoint_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    pub(super) fn settle(&mut self, _now: Moment) -> io::Result<()> {
        match self.endpoint.wish() {
            Wish::Nothing => Ok(()),
            Wish::Offer(tokens) => {
                self.endpoint.offered(self.pipes.offer(tokens)?);
                Ok(())
            }
            Wish::Withdraw(tokens) => {
                self.endpoint.withdrawn(self.pipes.withdraw(tokens)?);
                self.look()
            }
        }
    }
}
