//! What is said over the connections, both ways, and the end of each.
//!
//! Doesn't know who may come or what he asks for. However much one says, and however little it reads: its turn is short, and
//! nothing more is heard from it before it has read what it was told.

use super::around::Anchor;
use super::conn::{Conn, Heard, State};
use super::journal::anothers;
use super::{Kind, Server};
use crate::policy::account::ClientId;
use crate::policy::regulator::Input;
use crate::policy::time::Moment;
use crate::proto::status;
use crate::proto::view::{ClientView, View};
use crate::proto::wire::{self, Reply, Request};
use crate::sys::ancestors;
use mio::{Interest, Token};

/// So many bytes of answers may be unread at a stranger's connections, all together, before one more is begun there.
const MOST_UNREAD_OF_ONE: usize = 1024 * 1024;

impl Server {
    /// A connection's turn: something can be read from it, or written to it.
    pub(super) fn ready(&mut self, token: Token, now: Moment) {
        let Some(conn) = self.conns.get_mut(&token).filter(|conn| !conn.is_lost) else { return };
        conn.start_turn();
        if conn.flush().is_err() {
            return self.lose(token);
        }
        loop {
            let Some(conn) = self.conns.get_mut(&token) else { return };
            if conn.is_lost || !conn.is_flushed() || conn.ending.is_some() {
                break;
            }
            let uid = conn.peer.uid;
            match conn.hear(now) {
                Ok(Heard::Line(line)) => {
                    if self.obey(token, &line, now) {
                        self.turns.push(uid, token);
                        break;
                    }
                }
                Ok(Heard::Nothing) => break,
                Ok(Heard::Enough) => {
                    self.turns.push(uid, token);
                    break;
                }
                Err(_) => return self.lose(token),
            }
        }
        self.watch(token);
    }

    /// One line; whether that was enough for a turn.
    fn obey(&mut self, token: Token, line: &[u8], now: Moment) -> bool {
        let Some(conn) = self.conns.get(&token) else { return true };
        match (conn.state, wire::read::<Request>(line)) {
            (_, Ok(Some(request))) => return self.handle(token, request, now),
            // What a newer version may say, but not first.
            (State::Asker | State::Client(_), Ok(None)) => {}
            (State::Fresh, Ok(None)) => self.lose(token),
            (_, Err(why)) => {
                log::info!("garbage from {:?}: {why}", conn.peer);
                self.lose(token);
            }
        }
        false
    }

    /// Does what is asked; whether that was enough for a turn.
    fn handle(&mut self, token: Token, request: Request, now: Moment) -> bool {
        let Some(conn) = self.conns.get(&token) else { return true };
        match (conn.state, request) {
            (State::Fresh, Request::Hello(hello)) => self.welcome(token, &hello, now),
            (State::Fresh, _) | (_, Request::Hello(_)) => self.lose(token),
            (_, Request::Status) => {
                self.settle(now);
                let view = Box::new(self.view_for(token, now));
                self.answer(token, &wire::line(&Reply::Status(view)));
            }
            (_, Request::Count) => self.have_counted(token),
            (_, Request::Set(set)) => self.take_set(token, set, now),
            (_, Request::Brake) => {
                self.settle(now);
                self.tell_brake(token);
            }
            (_, Request::Journal) => self.tell_journal(token, now),
            (State::Client(id), Request::Why) => {
                self.settle(now);
                let why = status::why(&self.view_for(token, now), id);
                self.send(token, &Reply::Why { why });
            }
            (State::Client(id), Request::Report(report)) => {
                if let Some(conn) = self.conns.get_mut(&token) {
                    conn.reports += 1;
                }
                self.note(now, Input::Report(id, report.into()));
                return false;
            }
            (State::Client(id), Request::Started) => {
                self.note(now, Input::Started(id));
                return false;
            }
            (State::Client(_), Request::Command { pid }) => {
                let command = self.note_command(conn, pid);
                if let Some(conn) = self.conns.get_mut(&token) {
                    conn.command = command;
                }
            }
            (State::Client(id), Request::Stopped) => {
                self.note(now, Input::Stopped(id));
                return false;
            }
            (State::Client(id), Request::Continued) => {
                self.note(now, Input::Continued(id));
                return false;
            }
            (State::Asker, _) => return false,
        }
        true
    }

    /// Has those clients count whom the asker may know.
    fn have_counted(&mut self, token: Token) {
        let Some(uid) = self.conns.get(&token).map(|conn| conn.peer.uid) else { return };
        let is_open = self.rulers.rules(uid);
        let may_know = |(_, conn): &(&Token, &Conn)| conn.id().is_some() && (is_open || conn.peer.uid == uid);
        let clients: Vec<Token> = self.conns.iter().filter(may_know).map(|(&at, _)| at).collect();
        clients.into_iter().for_each(|at| self.send(at, &Reply::Count));
    }

    /// Tells a client.
    pub(super) fn tell(&mut self, id: ClientId, reply: &Reply) {
        if let Some(&token) = self.clients.get(&id) {
            self.send(token, reply);
        }
    }

    /// Sends what wasn't asked for, or is short.
    pub(super) fn send(&mut self, token: Token, reply: &Reply) {
        self.send_line(token, &wire::line(reply));
    }

    pub(super) fn send_line(&mut self, token: Token, line: &[u8]) {
        let Some(conn) = self.conns.get_mut(&token).filter(|conn| !conn.is_lost) else { return };
        if conn.send(line).is_err() {
            return self.lose(token);
        }
        self.watch(token);
    }

    /// Sends what was asked for, and may be long.
    pub(super) fn answer(&mut self, token: Token, line: &[u8]) {
        let Some(conn) = self.conns.get_mut(&token).filter(|conn| !conn.is_lost) else { return };
        let uid = conn.peer.uid;
        if conn.answer(line).is_err() {
            return self.lose(token);
        }
        if !conn.is_flushed() && !self.rulers.rules(uid) {
            let others = self.conns.iter().filter(|(at, conn)| **at != token && conn.peer.uid == uid);
            if others.map(|(_, conn)| conn.unread()).sum::<usize>() > MOST_UNREAD_OF_ONE {
                return self.lose(token);
            }
        }
        self.watch(token);
    }

    /// Room to write is waited for only while something is unsent: else whatever a client reads would wake us.
    fn watch(&mut self, token: Token) {
        let Some(conn) = self.conns.get_mut(&token).filter(|conn| !conn.is_lost) else { return };
        if conn.ending.is_some() && conn.is_flushed() {
            return self.lose(token);
        }
        let awaits_room = !conn.is_flushed();
        if awaits_room == conn.awaits_room {
            return;
        }
        let both = Interest::READABLE | Interest::WRITABLE;
        let interest = if awaits_room { both } else { Interest::READABLE };
        match self.poll.registry().reregister(&mut conn.stream, token, interest) {
            Ok(()) => conn.awaits_room = awaits_room,
            Err(error) => log::warn!("epoll: {error}"),
        }
    }

    /// A connection is over; it is taken away when nobody is amid anything.
    pub(super) fn lose(&mut self, token: Token) {
        if let Some(conn) = self.conns.get_mut(&token)
            && !std::mem::replace(&mut conn.is_lost, true)
        {
            self.lost.push(token);
        }
    }

    /// Takes those away that are over, and with them their clients; whether there were any.
    pub(super) fn take_away(&mut self, now: Moment) -> bool {
        let lost = std::mem::take(&mut self.lost);
        let mut left = false;
        for token in &lost {
            let Some(mut conn) = self.conns.remove(token) else { continue };
            let _ = self.poll.registry().deregister(&mut conn.stream);
            self.entrance.leave(conn.peer.uid);
            self.stop_telling(*token, now);
            if let Some(id) = conn.id() {
                self.clients.remove(&id);
                self.note(now, Input::Leave(id));
                self.remember_size(conn.peer.uid, &conn.hello.label, conn.job_bytes);
                left = true;
            }
        }
        if left {
            // What ran below it may be left without a job that pays.
            self.has_left = true;
            self.expect_sizes(now);
            self.apply_settings(now);
        }
        if self.conns.is_empty() && !lost.is_empty() {
            self.empty = Some(now);
        }
        !lost.is_empty()
    }

    /// How things stand, as far as the one at the other end may know.
    fn view_for(&self, token: Token, now: Moment) -> View {
        let mut view = status::view(&self.regulator, now);
        view.pid = std::process::id();
        view.pid_namespace = ancestors::pid_namespace();
        view.socket = self.socket.display().to_string();
        view.settings = self.all.clone();
        let uid = self.conns.get(&token).map(|conn| conn.peer.uid);
        let is_open = uid.is_some_and(|uid| self.rulers.rules(uid));
        for client in &mut view.clients {
            let is_shown = is_open || Some(client.uid) == uid;
            let who = if is_shown { self.who(client.id) } else { anothers() };
            (client.pid, client.label, client.style) = (who.pid, who.label, who.style);
            if is_shown {
                self.describe(client);
            }
        }
        view
    }

    /// What those may know who may know who it is.
    fn describe(&self, client: &mut ClientView) {
        let conn = self.clients.get(&client.id).and_then(|token| self.conns.get(token));
        if let Some(conn) = conn {
            client.reports = conn.reports;
            client.job_bytes = conn.job_bytes;
            client.roots = conn.anchors.iter().map(Anchor::pid).collect();
        }
    }

    /// As the kernel says; where it doesn't, a client of one's own is believed.
    pub(super) fn pid_of(&self, conn: &Conn) -> i32 {
        match self.kind {
            Kind::OnDemand { .. } if conn.peer.pid <= 0 => conn.hello.pid,
            Kind::OnDemand { .. } | Kind::Service { .. } => conn.peer.pid,
        }
    }
}
