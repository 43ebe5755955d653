//! The pipe pair of one tree: R, from which its tools take tokens, and W, into which they return them.
//!
//! Doesn't know how many tokens there are. Two pipes, so that every return is seen before anybody can take it again:
//! GNU make 4.3 and 4.4.1, ninja (Kitware's) and cargo all take two different ones.

use super::descriptor::{place_high, read_tokens, reopen, set_nonblocking, standing, write_tokens};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// All four ends. The tree inherits all of them: its own two, and ours as *keepers*, so that its endpoint outlives us.
#[derive(Debug)]
pub struct PipePair {
    offers: OwnedFd,
    takes: OwnedFd,
    comes_back: OwnedFd,
    returns: OwnedFd,
    /// An own description of R's reading end: O_NONBLOCK on the tree's would be seen by its tools. `None` where there is
    /// no /proc (a bare chroot): what stands there can't be withdrawn then.
    withdraws: Option<OwnedFd>,
}

impl PipePair {
    /// Makes both pipes, empty.
    ///
    /// R is shrunk to one page: with one token in it, its writing end becomes writable, an edge, exactly when that
    /// token is taken. (Two tokens would give one event for both.)
    pub fn new() -> io::Result<PipePair> {
        let (takes, offers) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        let (comes_back, returns) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&offers, FcntlArg::F_SETPIPE_SZ(1))?;
        set_nonblocking(&offers)?;
        set_nonblocking(&comes_back)?;
        let withdraws = reopen(&takes, OFlag::O_RDONLY).ok();
        Ok(PipePair {
            takes: place_high(takes)?,
            returns: place_high(returns)?,
            offers: place_high(offers)?,
            comes_back: place_high(comes_back)?,
            withdraws,
        })
    }

    /// The numbers for `--jobserver-auth=R,W`.
    pub fn auth(&self) -> (i32, i32) {
        (self.takes.as_raw_fd(), self.returns.as_raw_fd())
    }

    /// What the tree inherits.
    pub fn inherited(&self) -> [BorrowedFd<'_>; 4] {
        [self.takes.as_fd(), self.returns.as_fd(), self.offers.as_fd(), self.comes_back.as_fd()]
    }

    /// The descriptor that becomes writable when what stood in R has been taken.
    pub fn taken_event(&self) -> BorrowedFd<'_> {
        self.offers.as_fd()
    }

    /// The descriptor that becomes readable when something was returned.
    pub fn returned_event(&self) -> BorrowedFd<'_> {
        self.comes_back.as_fd()
    }

    /// How many tokens stand in R.
    pub fn standing(&self) -> io::Result<u32> {
        standing(&self.offers)
    }

    /// Puts tokens into R: how many there was room for.
    pub fn offer(&self, tokens: u32) -> io::Result<u32> {
        write_tokens(&self.offers, tokens)
    }

    /// Takes untaken tokens out of R: how many were still there.
    pub fn withdraw(&self, tokens: u32) -> io::Result<u32> {
        self.withdraws.as_ref().map_or(Ok(0), |reader| read_tokens(reader, tokens))
    }

    /// Takes everything out of W: how many bytes, whatever they are (make returns `+`, gcc `G`).
    pub fn collect(&self) -> io::Result<u32> {
        let mut tokens = 0;
        loop {
            let more = read_tokens(&self.comes_back, 256)?;
            tokens += more;
            if more < 256 {
                return Ok(tokens);
            }
        }
    }
}
