//! The shared gate: one regulator for many clients, each at the other end of a socket.
//!
//! Decides nothing about tokens: the regulator does. It has no endpoint of any client. It outlives all they do to it.

mod clients;
mod conn;
mod name;
pub mod settings;
pub mod wait;

use self::wait::wait;
use crate::policy::account::{Account, ClientId};
use crate::policy::ledger::Change;
use crate::policy::pressure::{PerResource, Totals};
use crate::policy::regulator::{Action, Input, Regulator};
use crate::policy::time::Moment;
use crate::proto::view::View;
use crate::proto::wire::{Granted, Reply, Request};
use crate::proto::{status, wire};
use crate::sys::clock::Clock;
use crate::sys::notify::{ServerSignal, ServerSignals};
use crate::sys::proc::{PressureFiles, usable_cpus};
use crate::sys::say::say;
use crate::sys::service::Systemd;
use crate::sys::socket;
use crate::sys::socket_name::SocketName;
use conn::{Conn, State};
use mio::net::UnixListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use settings::Layer;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;

const LISTENER: Token = Token(0);
const SIGNAL: Token = Token(1);
const NAME: Token = Token(2);
const FIRST_CONN: usize = 3;

/// A server that was started on demand stays so long after its last client: the next one often comes at once.
const LINGER: Duration = Duration::from_millis(300);

/// Whether the job that a client borrows its lease from still runs is looked at so often.
const LOAN_LOOK: Duration = Duration::from_secs(1);

/// Who couldn't be accepted is tried again after that.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// So long after a server that died issues its successor nothing: its clients first say what they hold.
const RECOVERY: Duration = Duration::from_millis(250);

/// What a server's own configuration says.
#[derive(Clone, Debug, Default)]
pub struct Base {
    /// Its settings.
    pub layer: Layer,
    /// Who may connect, by uid; empty, with no groups: everybody.
    pub users: Vec<u32>,
    /// Likewise by gid.
    pub groups: Vec<u32>,
    /// The most tokens of one user, by uid.
    pub quota: Vec<(u32, u32)>,
    /// ... and of all who aren't named.
    pub quota_of_others: Option<u32>,
}

/// Reads the configuration again.
pub type Reload = Box<dyn FnMut() -> Result<Base, String>>;

/// Whose gate it is.
pub enum Kind {
    /// Its clients': their wishes are its settings, and it ends with the last of them.
    OnDemand {
        /// The one before it died.
        recovering: bool,
    },
    /// Its configuration's.
    Service {
        /// As read.
        base: Base,
        /// SIGHUP.
        reload: Reload,
        /// It has bound its socket itself, and takes it away at the end.
        unbinds: bool,
        /// There may have been one before it, which left clients.
        recovering: bool,
        /// Whom to tell how it does.
        systemd: Box<Systemd>,
    },
}

/// A server.
pub struct Server {
    clock: Clock,
    poll: Poll,
    listener: UnixListener,
    signals: ServerSignals,
    socket: PathBuf,
    identity: Option<(u64, u64)>,
    /// The hold on its name, and when that is to be looked at again.
    name: Option<SocketName>,
    name_due: Option<Moment>,
    proc_root: PathBuf,
    kind: Kind,
    conns: HashMap<Token, Conn>,
    next_token: usize,
    next_id: ClientId,
    regulator: Regulator,
    /// Something was noted that nothing has followed from.
    noted: bool,
    pressure: Option<PressureFiles>,
    watched: PerResource<bool>,
    /// What was `set`.
    set: BTreeMap<String, String>,
    /// All settings and who said so.
    all: Layer,
    max_wait: Option<Duration>,
    /// Usable cpus, and when they were looked up.
    cpus: u32,
    cpus_seen: Moment,
    /// When the jobs that lend were last looked at.
    loans_seen: Moment,
    /// Somebody may wait to be accepted: when to look again.
    waiting: Option<Moment>,
    /// Since when nobody is connected.
    empty: Option<Moment>,
    /// When the watchdog is to be told again.
    alive: Option<(Duration, Moment)>,
    /// Who was found to be a member of a group that may connect: to look it up may take its time.
    members: HashMap<(u32, u32), bool>,
}

impl Server {
    /// A server behind `listener`, which has the name `socket`.
    pub fn new(
        listener: std::os::unix::net::UnixListener,
        socket: PathBuf,
        proc_root: PathBuf,
        kind: Kind,
    ) -> io::Result<Server> {
        let clock = Clock::start();
        let now = clock.now();
        listener.set_nonblocking(true)?;
        let mut listener = UnixListener::from_std(listener);
        let signals = ServerSignals::take()?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        poll.registry().register(&mut SourceFd(&signals.event().as_raw_fd()), SIGNAL, Interest::READABLE)?;
        let cpus = usable_cpus();
        let (settings, all, max_wait) = settings::resolve(cpus, &[]);
        let mut regulator = Regulator::new(settings, now);
        let (recovers, watchdog) = match &kind {
            Kind::OnDemand { recovering } => (*recovering, None),
            Kind::Service { recovering, systemd, .. } => (*recovering, systemd.watchdog_interval()),
        };
        if recovers {
            regulator.recover_until(now + RECOVERY);
        }
        let name = name::hold(&socket, &kind, &poll);
        let mut server = Server {
            clock,
            poll,
            listener,
            signals,
            identity: socket::identity(&socket),
            name,
            name_due: None,
            socket,
            proc_root,
            kind,
            conns: HashMap::new(),
            next_token: FIRST_CONN,
            next_id: 1,
            regulator,
            noted: false,
            pressure: None,
            watched: PerResource::default(),
            set: BTreeMap::new(),
            all,
            max_wait,
            cpus,
            cpus_seen: now,
            loans_seen: now,
            waiting: None,
            empty: Some(now),
            alive: watchdog.map(|interval| (interval, now + interval)),
            members: HashMap::new(),
        };
        server.apply_settings(now);
        Ok(server)
    }

    /// Serves until it is ended, or, on demand, until nobody is left.
    pub fn serve(&mut self) -> io::Result<()> {
        self.notify(Systemd::ready);
        self.serve_on().inspect_err(|_| self.end())
    }

    fn serve_on(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        loop {
            let deadline = self.deadline();
            let now = wait(&mut self.poll, &mut events, deadline, self.clock)?;
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(now),
                    SIGNAL => {
                        if self.attend(now)? {
                            self.end();
                            return Ok(());
                        }
                    }
                    NAME => self.name_due = Some(now),
                    token => self.ready(token, now),
                }
            }
            if self.name_due.is_some_and(|due| due <= now) && self.keep_name(now) {
                return Ok(());
            }
            self.pass(now);
            if self.is_over(now) {
                return Ok(());
            }
        }
    }

    fn deadline(&self) -> Option<Moment> {
        let owed = self.conns.values().filter_map(|conn| conn.owes.map(|since| since + conn::DEADLINE)).min();
        let over = match self.kind {
            Kind::OnDemand { .. } => self.empty.map(|since| since + LINGER),
            Kind::Service { .. } => None,
        };
        let alive = self.alive.map(|(_, next)| next);
        let borrows = self.regulator.accounts().iter().any(Account::is_borrowing);
        let loans = borrows.then(|| self.loans_seen + LOAN_LOOK);
        let own = [owed, over, alive, loans, self.waiting, self.name_due];
        own.into_iter().chain([self.regulator.deadline()]).flatten().min()
    }

    /// Time has passed.
    fn pass(&mut self, now: Moment) {
        if self.regulator.deadline().is_some_and(|when| when <= now) {
            self.regulator.handle(now, Input::Time);
        } else if self.noted {
            self.regulator.settle(now);
        }
        self.noted = false;
        if now.since(self.loans_seen) >= LOAN_LOOK {
            self.loans_seen = now;
            self.end_loans(now);
        }
        self.drain(now);
        if self.waiting.is_some_and(|when| when <= now) {
            self.accept(now);
        }
        let late = |conn: &Conn| conn.owes.is_some_and(|since| now.since(since) >= conn::DEADLINE);
        let late: Vec<Token> =
            self.conns.iter().filter(|(_, conn)| late(conn)).map(|(&token, _)| token).collect();
        late.into_iter().for_each(|token| self.drop_conn(token, now));
        if let Some((interval, next)) = &mut self.alive
            && *next <= now
        {
            *next = now + *interval;
            self.notify(Systemd::alive);
        }
    }

    fn accept(&mut self, now: Moment) {
        self.waiting = None;
        loop {
            match self.listener.accept() {
                Ok((mut stream, _)) => {
                    let Ok(peer) = socket::peer(&stream_fd(&stream)) else { continue };
                    let token = Token(self.next_token);
                    self.next_token += 1;
                    if self.poll.registry().register(&mut stream, token, Interest::READABLE).is_ok() {
                        self.conns.insert(token, Conn::new(stream, peer, now));
                        self.empty = None;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // Out of descriptors, say: they wait in the backlog, of which no other event tells.
                    log::warn!("accept: {error}");
                    self.waiting = Some(now + ACCEPT_AGAIN);
                    return;
                }
            }
        }
    }

    /// Something can be read from, or written to, a connection.
    fn ready(&mut self, token: Token, now: Moment) {
        let Some(conn) = self.conns.get_mut(&token) else { return };
        let gone = conn.flush().is_err() | conn.fill(now).is_err();
        while let Some(line) = self.conns.get_mut(&token).and_then(Conn::next_line) {
            match wire::read::<Request>(&line) {
                Ok(Some(request)) => self.handle(token, request, now),
                Ok(None) => {}
                Err(why) => {
                    log::info!("garbage from {:?}: {why}", self.conns.get(&token).map(|conn| conn.peer));
                    return self.drop_conn(token, now);
                }
            }
        }
        let over = self.conns.get(&token).is_some_and(|conn| conn.ending && conn.is_flushed());
        if gone || over {
            return self.drop_conn(token, now);
        }
        self.watch(token);
    }

    /// Room to write is waited for only while something is unsent: else whatever a client reads would wake us.
    fn watch(&mut self, token: Token) {
        let Some(conn) = self.conns.get_mut(&token) else { return };
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

    fn handle(&mut self, token: Token, request: Request, now: Moment) {
        let Some(conn) = self.conns.get(&token) else { return };
        match (conn.state, request) {
            (State::Fresh, Request::Hello(hello)) => self.welcome(token, hello, now),
            (State::Fresh, _) | (_, Request::Hello(_)) => self.drop_conn(token, now),
            (_, Request::Status) => {
                let view = Box::new(self.view(now));
                self.send(token, &Reply::Status(view), now);
            }
            (_, Request::Set(set)) => self.take_set(token, set, now),
            (State::Client(id), Request::Why) => {
                let why = status::why(&self.view(now), id);
                self.send(token, &Reply::Why { why }, now);
            }
            (State::Client(id), Request::Report(report)) => {
                let mut report = report;
                report.held = report.held.min(crate::proto::values::MOST_JOBS);
                // Reports come in swarms, each after an allotment: what follows from them is told once for all.
                self.regulator.note(now, Input::Report(id, report.into()));
                self.noted = true;
                return;
            }
            (State::Client(id), Request::Started) => self.regulator.handle(now, Input::Started(id)),
            (State::Client(_), Request::Command { pid }) => {
                if let Some(conn) = self.conns.get_mut(&token) {
                    conn.command = Some(pid);
                }
            }
            (State::Client(id), Request::Stopped) => self.regulator.handle(now, Input::Stopped(id)),
            (State::Client(id), Request::Continued) => self.regulator.handle(now, Input::Continued(id)),
            (State::Asker, _) => {}
        }
        self.drain(now);
    }

    /// Does all that the regulator wants done.
    fn drain(&mut self, now: Moment) {
        while let Some(action) = self.regulator.poll() {
            match action {
                Action::Sample => self.sample(now),
                Action::Tell(Change::Allot { id, tokens, serial, pressed }) => {
                    self.tell(id, &Reply::Allot { tokens, serial, pressed }, now);
                }
                Action::Tell(Change::Grant { id, tokens, borrowed }) => {
                    self.tell(id, &Reply::Granted(Granted { tokens, borrowed }), now);
                }
            }
        }
    }

    fn sample(&mut self, now: Moment) {
        let totals = self.pressure.as_ref().map_or(Ok(Totals::default()), PressureFiles::sample);
        match totals {
            Ok(totals) => self.regulator.handle(now, Input::Sample(totals)),
            Err(error) => {
                say(&format!("pressure can't be read any more ({error}); the gate stays open"));
                self.regulator.handle(now, Input::Blind);
            }
        }
    }

    fn tell(&mut self, id: ClientId, reply: &Reply, now: Moment) {
        let token = self.conns.iter().find(|(_, conn)| conn.id() == Some(id)).map(|(&token, _)| token);
        if let Some(token) = token {
            self.send(token, reply, now);
        }
    }

    fn send(&mut self, token: Token, reply: &Reply, now: Moment) {
        if self.conns.get_mut(&token).is_some_and(|conn| conn.send(reply).is_err()) {
            return self.drop_conn(token, now);
        }
        self.watch(token);
    }

    /// A connection has ended, and with it its client.
    fn drop_conn(&mut self, token: Token, now: Moment) {
        let Some(mut conn) = self.conns.remove(&token) else { return };
        let _ = self.poll.registry().deregister(&mut conn.stream);
        if let Some(id) = conn.id() {
            self.regulator.handle(now, Input::Leave(id));
            // What ran below it may be left without a job that pays.
            self.end_loans(now);
            self.apply_settings(now);
        }
        if self.conns.is_empty() {
            self.empty = Some(now);
        }
        self.drain(now);
    }

    /// Signals; whether it is to end.
    fn attend(&mut self, now: Moment) -> io::Result<bool> {
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
        self.members.clear();
        self.apply_settings(now);
        self.notify(Systemd::ready);
    }

    /// Tells a service manager, if there is one.
    fn notify(&self, tell: impl Fn(&Systemd) -> io::Result<()>) {
        let Kind::Service { systemd, .. } = &self.kind else { return };
        if let Err(error) = tell(systemd) {
            log::warn!("the service manager can't be told: {error}");
        }
    }

    /// Nobody is left: the socket is taken away, unless somebody comes at this very moment.
    fn is_over(&mut self, now: Moment) -> bool {
        let Kind::OnDemand { .. } = self.kind else { return false };
        if self.empty.is_none_or(|since| now.since(since) < LINGER) {
            return false;
        }
        let Ok(_lock) = socket::lock(&self.socket, Duration::ZERO) else {
            // Somebody is about to come, or to take our place.
            self.empty = Some(now);
            return self.is_replaced();
        };
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
    fn end(&mut self) {
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

    /// How things stand.
    fn view(&self, now: Moment) -> View {
        let mut view = status::view(&self.regulator, now);
        view.pid = std::process::id();
        view.socket = self.socket.display().to_string();
        view.settings = self.all.clone();
        for client in &mut view.clients {
            if let Some(conn) = self.conns.values().find(|conn| conn.id() == Some(client.id)) {
                clients::describe(conn, client);
            }
        }
        view
    }
}

/// mio's stream as something that has a descriptor.
fn stream_fd(stream: &mio::net::UnixStream) -> std::os::fd::BorrowedFd<'_> {
    use std::os::fd::AsFd;
    stream.as_fd()
}
