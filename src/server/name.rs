//! A server whose socket's name is taken away: it puts the name back, or gives its clients to the one that has it.
//!
//! Doesn't know clients or tokens.

use super::{Kind, LISTENER, NAME, Server};
use crate::policy::time::Moment;
use crate::sys::say::say;
use crate::sys::socket;
use crate::sys::socket_name::{SocketName, Whose};
use mio::net::UnixListener;
use mio::unix::SourceFd;
use mio::{Interest, Poll};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

/// Whoever starts a server holds the lock for some milliseconds.
const PATIENCE: Duration = Duration::from_millis(100);

/// A name that can't be put back is tried again so often.
const AGAIN: Duration = Duration::from_secs(1);

/// Takes hold of the name of one's own socket. `None`: it can't be watched, and stays what it is.
pub(super) fn hold(socket: &Path, kind: &Kind, poll: &Poll) -> Option<SocketName> {
    if matches!(kind, Kind::Service { unbinds: false, .. }) {
        return None; // a service manager's
    }
    let registered = SocketName::hold(socket).and_then(|name| {
        poll.registry().register(&mut SourceFd(&name.event().as_raw_fd()), NAME, Interest::READABLE)?;
        Ok(name)
    });
    registered.inspect_err(|error| log::warn!("{}: can't be watched: {error}", socket.display())).ok()
}

impl Server {
    /// Sees to it that clients find us; whether another server has taken our place, to which ours are to go.
    pub(super) fn keep_name(&mut self, now: Moment) -> bool {
        self.name_due = None;
        let Some(name) = &self.name else { return false };
        if name.whose() == Whose::Ours {
            return false;
        }
        match self.put_name_back(now) {
            Ok(is_over) => is_over,
            Err(error) => {
                log::warn!("{}: can't be put back: {error}", self.socket.display());
                self.name_due = Some(now + AGAIN);
                false
            }
        }
    }

    fn put_name_back(&mut self, now: Moment) -> io::Result<bool> {
        let Some(name) = &self.name else { return Ok(false) };
        name.make_folder();
        let _lock = socket::lock(&self.socket, PATIENCE)?;
        let whose = name.whose();
        let is_service = matches!(self.kind, Kind::Service { .. });
        if whose == Whose::Ours || (whose == Whose::Anothers && !is_service) {
            return Ok(whose == Whose::Anothers);
        }
        // Who has come by the old one is there.
        self.accept(now);
        let Some(name) = &mut self.name else { return Ok(false) };
        let listener = name.put_back()?;
        listener.set_nonblocking(true)?;
        let mut listener = UnixListener::from_std(listener);
        self.poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let _ = self.poll.registry().deregister(&mut self.listener);
        self.listener = listener;
        self.identity = socket::identity(&self.socket);
        if is_service {
            say(&format!("the socket {} was removed, and is put back", self.socket.display()));
        }
        Ok(false)
    }
}
