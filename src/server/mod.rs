//! The shared gate: one regulator for many clients, each at the other end of a socket.
//!
//! Decides nothing about tokens: the regulator does. It has no endpoint of any client. It outlives all they do to it: each
//! is heard in its turn, for a moment, and what is kept of it is bounded (`entrance`, `turns`, `conn`, `trust`).

mod around;
mod clients;
mod conn;
mod entrance;
mod freezer;
pub mod journal;
mod life;
mod name;
mod requests;
pub mod settings;
mod sizes;
mod trust;
mod turns;
pub mod wait;

use self::wait::wait;
use crate::policy::account::ClientId;
use crate::policy::ledger::Change;
use crate::policy::regulator::{Action, Input, Regulator, Wants};
use crate::policy::time::Moment;
use crate::proto::values::Scope;
use crate::proto::wire::{Granted, Reply};
use crate::sys::clock::Clock;
use crate::sys::limits;
use crate::sys::machine::Machine;
use crate::sys::notify::ServerSignals;
use crate::sys::proc::usable_cpus;
use crate::sys::say::say;
use crate::sys::service::Systemd;
use crate::sys::socket;
use crate::sys::socket_name::SocketName;
use conn::Conn;
use entrance::Entrance;
use journal::Journals;
use mio::net::UnixListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use settings::Layer;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;
use trust::Rulers;
use turns::Turns;

const LISTENER: Token = Token(0);
const SIGNAL: Token = Token(1);
const NAME: Token = Token(2);
const FIRST_CONN: usize = 3;

/// So long after a server that died issues its successor nothing: its clients first say what they hold.
const RECOVERY: Duration = Duration::from_millis(250);

/// ... and as long again after each that has come, up to this in all.
const LONGEST_RECOVERY: Duration = Duration::from_secs(2);

/// After so long those who have something to say are looked for again: they may be others.
const SLICE: Duration = Duration::from_millis(5);

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
    /// The most connections of one user.
    pub connections: Option<u32>,
    /// The largest weight of who isn't root or the owner.
    pub max_weight: Option<u32>,
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
    rulers: Rulers,
    entrance: Entrance,
    conns: HashMap<Token, Conn>,
    /// The connections of clients.
    clients: HashMap<ClientId, Token>,
    /// Who has something to say.
    turns: Turns,
    /// Connections that are over, and are to be taken away.
    lost: Vec<Token>,
    next_token: usize,
    next_id: ClientId,
    regulator: Regulator,
    /// Something was noted that nothing has followed from.
    noted: bool,
    machine: Option<Machine>,
    /// What that was opened for, and whether all of it was there.
    looks_at: (Wants, Scope),
    sees_all: bool,
    journals: Journals,
    /// What was `set`.
    set: BTreeMap<String, String>,
    /// All settings and who said so.
    all: Layer,
    max_wait: Option<Duration>,
    /// Usable cpus, and when they were looked up.
    cpus: u32,
    cpus_seen: Moment,
    /// When the jobs that lend were last looked at, and whether a client has left since.
    loans_seen: Moment,
    has_left: bool,
    /// Who came while the gate recovered, and before the client in whose job it is, if there is one.
    early: Vec<ClientId>,
    sizes: sizes::Memory,
    frozen: freezer::Frozen,
    /// Since when nobody is connected.
    empty: Option<Moment>,
    /// When the watchdog is to be told again.
    alive: Option<(Duration, Moment)>,
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
            regulator.recover(now, RECOVERY, LONGEST_RECOVERY);
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
            rulers: Rulers::new(&kind),
            kind,
            entrance: Entrance::new(limits::lift_descriptors()),
            conns: HashMap::new(),
            clients: HashMap::new(),
            turns: Turns::default(),
            lost: Vec::new(),
            next_token: FIRST_CONN,
            next_id: 1,
            regulator,
            noted: false,
            machine: None,
            looks_at: Default::default(),
            sees_all: true,
            journals: Journals::default(),
            set: BTreeMap::new(),
            all,
            max_wait,
            cpus,
            cpus_seen: now,
            loans_seen: now,
            has_left: false,
            early: Vec::new(),
            sizes: sizes::Memory::default(),
            frozen: freezer::Frozen::default(),
            empty: Some(now),
            alive: watchdog.map(|interval| (interval, now + interval)),
        };
        server.apply_settings(now);
        Ok(server)
    }

    /// Serves until it is ended, or, on demand, until nobody is left.
    pub fn serve(&mut self) -> io::Result<()> {
        self.notify(Systemd::ready);
        let served = self.serve_on().inspect_err(|_| self.end());
        self.close_journal();
        served
    }

    fn serve_on(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        loop {
            let deadline = self.deadline();
            let now = wait(&mut self.poll, &mut events, deadline, self.clock)?;
            for event in &events {
                match event.token() {
                    LISTENER => self.entrance.more = true,
                    SIGNAL => {
                        if self.attend(now)? {
                            self.end();
                            return Ok(());
                        }
                    }
                    NAME => self.name_due = Some(now),
                    token => {
                        if let Some(conn) = self.conns.get(&token) {
                            self.turns.push(conn.peer.uid, token);
                        }
                    }
                }
            }
            if self.entrance.more || self.entrance.due().is_some_and(|due| due <= now) {
                self.accept(now);
            }
            while let Some(token) = self.turns.pop() {
                self.ready(token, now);
                if self.clock.now().since(now) >= SLICE {
                    break;
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
        if self.entrance.more || !self.turns.is_empty() {
            return Some(Moment::default()); // at once
        }
        let due = self.conns.values().filter_map(Conn::due).min();
        let over = match self.kind {
            Kind::OnDemand { .. } => self.empty.map(|since| since + life::LINGER),
            Kind::Service { .. } => None,
        };
        let alive = self.alive.map(|(_, next)| next);
        let journals = self.journals.deadline();
        [
            self.regulator.deadline(),
            journals,
            due,
            over,
            alive,
            self.loans_due(),
            self.sizes_due(),
            self.entrance.due(),
            self.name_due,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Time has passed.
    fn pass(&mut self, now: Moment) {
        self.end_loans(now);
        self.look_at_sizes(now);
        // Whose turn hasn't come may well have said it.
        let is_late = |(token, conn): &(&Token, &Conn)| {
            conn.due().is_some_and(|due| due <= now) && !self.turns.has(**token)
        };
        let late: Vec<Token> = self.conns.iter().filter(is_late).map(|(&token, _)| token).collect();
        late.into_iter().for_each(|token| self.lose(token));
        self.settle(now);
        if let Some((interval, next)) = &mut self.alive
            && *next <= now
        {
            *next = now + *interval;
            self.notify(Systemd::alive);
        }
    }

    /// Something happened; what follows from it is seen when all that comes with it is known: they come in swarms.
    fn note(&mut self, now: Moment, input: Input) {
        self.regulator.note(now, input);
        self.noted = true;
    }

    /// Does all that follows from what has happened, until nothing more does.
    fn settle(&mut self, now: Moment) {
        loop {
            if self.regulator.deadline().is_some_and(|when| when <= now) {
                self.note(now, Input::Time);
                self.place_early(now);
            }
            if self.noted {
                self.regulator.settle(now);
            }
            self.noted = false;
            self.drain(now);
            self.record(now);
            if !self.take_away(now) {
                return;
            }
            self.end_loans(now);
        }
    }

    /// Does all that the regulator wants done.
    fn drain(&mut self, now: Moment) {
        while let Some(action) = self.regulator.poll() {
            match action {
                Action::Sample => self.sample(now),
                Action::Tell(Change::Allot { id, tokens, serial, pressed }) => {
                    self.tell(id, &Reply::Allot { tokens, serial, pressed });
                }
                Action::Tell(Change::Grant { id, tokens, borrowed }) => {
                    self.tell(id, &Reply::Granted(Granted { tokens, borrowed }));
                }
            }
        }
    }

    fn sample(&mut self, now: Moment) {
        let Some(machine) = &mut self.machine else { return self.regulator.handle(now, Input::Blind) };
        let (reading, why) = machine.look();
        if let Some(why) = why {
            say(&format!("pressure can't be read any more ({why}); the gate stays open"));
            self.regulator.note(now, Input::Blind);
        }
        self.regulator.handle(now, Input::Sample(reading));
        machine.note(self.regulator.law().distrusts_pressure()).into_iter().for_each(say);
        self.freeze();
        // What was judged, before anything else changes.
        self.record(now);
        self.tell_brakes();
    }
}
