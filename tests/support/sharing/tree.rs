//! One tree: tools that take and return tokens, and its proxy, which does and tells what `src/proxy` does and tells.
//!
//! Doesn't know the server, nor how long messages take.

use jobgate::policy::account::{self, Claim, ClientId, Lease, Report, Terms};
use jobgate::policy::appetite::{Appetite, Word};
use jobgate::policy::endpoint::{Endpoint, Style, Wish};
use jobgate::policy::ledger::Change;
use jobgate::policy::time::Moment;
use std::time::Duration;

/// Between two counts of a fifo, while others wait for what stands there or not.
const COUNTS: (u64, u64) = (10, 100);

/// After so long without a token out a fifo isn't counted any more: the next taking is an event.
const QUIET: u64 = 1000;

/// How a tree takes tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// At once.
    Make,
    /// When one of its own jobs ends, the implicit one counted in.
    Ninja,
    /// Not at all: it has its lease.
    Exec,
}

impl Kind {
    fn patience(self) -> u64 {
        if self == Kind::Ninja { 1000 } else { 30 }
    }
}

/// What a proxy tells.
#[derive(Clone, Copy, Debug)]
pub enum Word2Server {
    /// A report.
    Report(Report),
    /// Its lease is in use.
    Started,
    /// Job control.
    Stop(bool),
}

/// A process tree and its proxy. Times are ms.
#[derive(Debug)]
pub struct Tree {
    /// Its number.
    pub id: ClientId,
    /// How it takes.
    pub kind: Kind,
    /// What it asked for.
    pub terms: Terms,
    /// How many jobs it would run at once, the implicit one counted in.
    pub demand: u32,
    /// How long its jobs take.
    pub job: u64,
    /// When it came.
    pub came: u64,
    /// What it pays for; `None`: it waits.
    pub lease: Option<u32>,
    /// It runs on the payment of the job around it.
    pub borrowed: bool,
    /// Job control has stopped it.
    pub stopped: bool,
    /// When each job that has a token ends.
    pub jobs: Vec<u64>,
    /// Tokens that stand where tools can take them.
    pub standing: u32,
    /// Tokens that died with their holders.
    pub dead: u32,
    /// Tokens x ms held, since it was last set to 0.
    pub used: u64,
    /// Its server died while it was stopped, and it doesn't know that yet.
    pub is_lost: bool,
    /// Not all that it has is paid for: its user has too much.
    pub is_unpaid: bool,
    /// The proxy's figures.
    pub endpoint: Endpoint,
    /// When the job ends that needs no token.
    own_job: u64,
    style: Style,
    allotment: u32,
    serial: u64,
    pressed: bool,
    obeyed: u64,
    in_force: u32,
    reported: Option<(u64, u32)>,
    appetite: Appetite,
    counted: u64,
    busy: u64,
}

impl Tree {
    /// One that has just said hello.
    pub fn new(id: ClientId, kind: Kind, style: Style, terms: Terms, now: u64) -> Tree {
        Tree {
            id,
            kind,
            terms,
            demand: 0,
            job: 1,
            came: now,
            lease: (terms.lease == Lease::Nothing).then_some(0),
            borrowed: false,
            stopped: false,
            jobs: Vec::new(),
            standing: 0,
            dead: 0,
            used: 0,
            is_lost: false,
            is_unpaid: false,
            endpoint: Endpoint::new(style),
            own_job: 0,
            style,
            allotment: 0,
            serial: 0,
            pressed: false,
            obeyed: 0,
            in_force: 0,
            reported: None,
            appetite: Appetite::new(Duration::from_millis(kind.patience()), at(now)),
            counted: now,
            busy: now,
        }
    }

    /// Tokens held by living tools.
    pub fn held(&self) -> u32 {
        self.jobs.len() as u32
    }

    /// Jobs that somebody pays for.
    pub fn running(&self) -> u32 {
        self.lease.unwrap_or(0) + self.held()
    }

    /// All that it has been given and hasn't given back.
    pub fn has(&self) -> u32 {
        self.running() + self.standing + self.dead
    }

    /// It was stopped while it waited for its lease: it reads nothing.
    pub fn is_frozen(&self) -> bool {
        self.stopped && self.lease.is_none()
    }

    /// It would take a token at once.
    pub fn is_hungry(&self) -> bool {
        let has_room = self.running() + u32::from(self.borrowed) < self.terms.cap;
        let more = self.held() + 1 < self.demand;
        self.kind == Kind::Make && self.lease.is_some() && !self.stopped && more && has_room
    }

    /// Its tools die with what they hold; others start.
    pub fn lose(&mut self, now: u64) {
        if self.style == Style::Fifo && self.lease.is_some() && !self.stopped {
            self.dead += self.held();
            self.jobs.clear();
            self.endpoint.saw(self.standing);
            self.endpoint.deserted(at(now + 1000));
        }
    }

    /// A millisecond of its tools: jobs end, others start.
    pub fn work(&mut self, now: u64, mut roll: impl FnMut(u64) -> u64) {
        self.used += u64::from(self.held());
        if self.lease.is_none() || self.stopped || self.kind == Kind::Exec {
            return;
        }
        let before = self.held();
        self.jobs.retain(|&end| end > now);
        let ended = before - self.held();
        self.come_back(ended, now, roll(4) == 0);
        let own_ended = self.own_job <= now;
        if own_ended {
            self.own_job = now + self.job;
        }
        let looks = self.kind == Kind::Make || ended > 0 || own_ended;
        while looks && self.standing > 0 && self.held() + 1 < self.demand {
            self.standing -= 1;
            if self.endpoint.held() == 0 && now - self.busy >= QUIET {
                self.counted = 0;
            }
            self.jobs.push(now + self.job + roll(self.job / 10 + 2));
        }
    }

    /// Returned tokens; `too_late`: a tool takes what is owed before the proxy does.
    fn come_back(&mut self, tokens: u32, now: u64, too_late: bool) {
        match self.style {
            Style::Pipe => self.endpoint.returned(tokens),
            Style::Fifo => self.standing += tokens,
        }
        if tokens > 0 && self.endpoint.owed() > 0 && !too_late {
            self.look(now);
            self.move_tokens();
        }
    }

    fn look(&mut self, now: u64) {
        self.counted = now;
        self.endpoint.saw(self.standing);
        if self.endpoint.held() > 0 {
            self.busy = now;
        }
    }

    /// Does what the endpoint wishes.
    fn move_tokens(&mut self) {
        match self.endpoint.wish() {
            Wish::Nothing => {}
            Wish::Offer(tokens) => {
                self.standing += tokens;
                self.endpoint.offered(tokens);
            }
            Wish::Withdraw(tokens) => {
                let there = tokens.min(self.standing);
                self.endpoint.saw(self.standing);
                self.endpoint.withdrawn(there);
                self.standing -= there;
            }
        }
    }

    /// A millisecond of its proxy: what it says.
    pub fn serve(&mut self, now: u64, mut say: impl FnMut(Word2Server)) {
        if self.lease.is_none() || self.kind == Kind::Exec {
            return;
        }
        let count = if self.pressed && self.endpoint.standing() > 0 { COUNTS.0 } else { COUNTS.1 };
        if self.style == Style::Pipe || now - self.counted >= count {
            self.look(now);
        }
        if self.endpoint.doubt().is_some_and(|due| due <= at(now)) {
            self.look(now);
            self.endpoint.write_off(at(now));
            self.dead = self.dead.min(self.endpoint.held().saturating_sub(self.held()));
        }
        let may = if self.stopped { 0 } else { self.allotment };
        self.endpoint.allot(may);
        self.move_tokens();
        if matches!(self.endpoint.wish(), Wish::Withdraw(_)) {
            return;
        }
        if self.obeyed != self.serial {
            self.obeyed = self.serial;
            self.appetite.ask();
        }
        self.in_force = may;
        let held = self.endpoint.held();
        // Who wants nothing has no tool that has it open; a pipe is open for ever.
        self.appetite.deserted(at(now), self.style == Style::Fifo && self.demand == 0);
        self.appetite.saw(at(now), may, held);
        let appetite = self.appetite.poll(at(now)).map(|word| match word {
            Word::Full => account::Appetite::Full,
            Word::Slack(used) => account::Appetite::Slack(used),
        });
        let news = self.reported.is_none_or(|(serial, before)| {
            serial != self.obeyed || (held != before && (held >= may || before > may))
        });
        if news || appetite.is_some() {
            self.reported = Some((self.obeyed, held));
            say(Word2Server::Report(Report { serial: self.obeyed, held, appetite }));
        }
    }

    /// Says hello to the next server, as this client: with what it has from the one that died, if it has anything.
    pub fn renew(&mut self, id: ClientId, now: u64) -> Option<Claim> {
        (self.id, self.came, self.is_lost) = (id, now, false);
        (self.allotment, self.serial, self.obeyed, self.reported) = (self.in_force, 0, 0, None);
        self.appetite = Appetite::new(self.appetite.patience(), at(now));
        let claim = |lease| Claim {
            lease,
            borrowed: self.borrowed,
            allotment: self.in_force,
            held: self.endpoint.held(),
            stopped: false,
        };
        self.lease.map(claim)
    }

    /// Job control.
    pub fn stop(&mut self, stopped: bool, now: u64, mut say: impl FnMut(Word2Server)) {
        if self.stopped != stopped {
            self.stopped = stopped;
            // One that waits for its lease stops as it is, without a word.
            if self.lease.is_some() {
                say(Word2Server::Stop(stopped));
                self.serve(now, say);
            }
        }
    }

    /// The server said something.
    pub fn take_in(&mut self, change: Change, mut say: impl FnMut(Word2Server)) {
        match change {
            Change::Allot { tokens, serial, pressed, .. } => {
                assert!(serial > self.serial, "in order");
                (self.allotment, self.serial, self.pressed) = (tokens, serial, pressed);
            }
            Change::Grant { tokens, borrowed, .. } => {
                assert!(self.lease.is_none(), "a lease is granted once");
                self.lease = Some(tokens - u32::from(borrowed));
                self.borrowed = borrowed;
                say(Word2Server::Started);
            }
        }
    }
}

fn at(ms: u64) -> Moment {
    Moment::at(Duration::from_millis(ms))
}
