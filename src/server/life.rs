//! How a server ends, is told to read its configuration again, and tells a service manager.
//!
//! Doesn't know its clients but for whether there are any.

use super::{Kind, Server};
use crate::policy::time::Moment;
use crate::sys::notify::ServerSignal;
use crate::sys::say::say;
use crate::sys::service::Systemd;
use crate::sys::socket;
use std::io;
use std::time::Duration;

/// A server that was started on demand stays so long after its last client: the next one often comes at once.
pub const LINGER: Duration = Duration::from_millis(300);

impl Server {
    /// Signals; whether it is to end.
    pub(super) fn attend(&mut self, now: Moment) -> io::Result<bool> {
        while let Some(signal) = self.signals.next()? {
            match signal {
                ServerSignal::End => return Ok(true),
                ServerSignal::Reload => self.reload(now),
            }
        }
        Ok(false)
    }

    fn reload(&mut self, now: Moment) {
        self.notify(Systemd::reloading);
        if let Kind::Service { base, reload, .. } = &mut self.kind {
            match reload() {
                Ok(new) => *base = new,
                Err(why) => say(&format!("{why}; the old settings stay in force")),
            }
        }
        self.apply_settings(now);
        self.notify(Systemd::ready);
    }

    /// Tells a service manager, if there is one.
    pub(super) fn notify(&self, tell: impl Fn(&Systemd) -> io::Result<()>) {
        let Kind::Service { systemd, .. } = &self.kind else { return };
        if let Err(error) = tell(systemd) {
            log::warn!("the service manager can't be told: {error}");
        }
    }

    /// Nobody is left: the socket is taken away, unless somebody comes at this very moment.
    pub(super) fn is_over(&mut self, now: Moment) -> bool {
        let Kind::OnDemand { .. } = self.kind else { return false };
        if self.empty.is_none_or(|since| now.since(since) < LINGER) {
            return false;
        }
        // Where it can't be had at all nobody else has it either: who comes at this moment starts over.
        let lock = socket::lock(&self.socket, Duration::ZERO);
        if lock.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            // Somebody is about to come, or to take our place.
            self.empty = Some(now);
            return self.is_replaced();
        }
        self.accept(now);
        if self.empty.is_none() {
            return false;
        }
        socket::unbind(&self.socket, self.identity);
        if let Some(name) = &mut self.name {
            name.let_go();
        }
        true
    }

    /// Another server listens under our name, or the name is gone: nobody can come any more.
    fn is_replaced(&self) -> bool {
        socket::identity(&self.socket) != self.identity
    }

    /// Takes the socket away, unless there are clients: by what is left of it their next server knows that they hold
    /// something, and hears them first.
    pub(super) fn end(&mut self) {
        self.notify(Systemd::stopping);
        let unbinds = match self.kind {
            Kind::OnDemand { .. } => true,
            Kind::Service { unbinds, .. } => unbinds,
        };
        if unbinds && self.regulator.accounts().is_empty() {
            let _lock = socket::lock(&self.socket, Duration::from_millis(100));
            socket::unbind(&self.socket, self.identity);
        }
    }
}
