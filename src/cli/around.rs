//! The jobserver that we were started below: ours, somebody else's, or none; and who pays for what is started in it.
//!
//! Doesn't know what is started next, only whether it could join what is there.

use super::gate;
use super::style::Choice;
use crate::policy::endpoint::Style;
use crate::policy::time::Moment;
use crate::proto::ancestry::{Ancestor, job_root, starts_jobs};
use crate::proto::argv::Tool;
use crate::proto::makeflags::{self, Auth, Inherited};
use crate::proto::tree::Tree;
use crate::proxy::payment::Payment;
use crate::sys::clock::Clock;
use crate::sys::descriptor::leave_open;
use crate::sys::foreign::Foreign;
use crate::sys::tree_file::{self, Jobs};
use crate::sys::{ancestors, shims};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The endpoint that jobgate has told this tree of, as `name` writes it: another one in MAKEFLAGS is somebody else's.
pub const AUTH: &str = "JOBGATE_AUTH";

/// Not empty: that endpoint's gate is shared with nobody, or goes through a foreign jobserver: its tree can only be a
/// client of the endpoint.
pub const PRIVATE: &str = "JOBGATE_PRIVATE";

/// The value of `gate::INSIDE` below a tool for which all tokens are held that its run may have.
pub const ALONE: &str = "alone";

/// The file in which the proxy has written down this tree.
pub const TREE: &str = "JOBGATE_TREE";

/// A job that isn't paid for, and gets no token for so long, is run all the same: what holds the tokens may wait for it.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// An orphan waits so long for a token before it makes use of what the tree's own command has paid.
const ORPHANS_WAIT: Duration = Duration::from_secs(1);

/// Who waits looks so often whether what pays for its job has ended; a token is an event.
const LOOK: Duration = Duration::from_millis(20);

/// An endpoint as one word.
pub fn name(auth: &Auth) -> OsString {
    match auth {
        Auth::Pipe { read, write } => format!("{read},{write}").into(),
        Auth::Fifo { path, .. } => named_fifo(path.as_os_str()),
    }
}

fn named_fifo(path: &std::ffi::OsStr) -> OsString {
    let mut name = OsString::from("fifo:");
    name.push(path);
    name
}

fn name_of(inherited: &Inherited) -> OsString {
    match inherited {
        Inherited::Pipe { read, write } => format!("{read},{write}").into(),
        Inherited::Fifo(path) => named_fifo(path.as_os_str()),
    }
}

/// See the module.
pub struct Around {
    inherited: Option<Inherited>,
    is_ours: bool,
    is_private: bool,
    /// MAKEFLAGS leads there: who is started finds it.
    is_named: bool,
    tree: Option<(PathBuf, Tree)>,
    /// Descriptors that were opened for it: they are to be left to who is started.
    opened: Vec<OwnedFd>,
}

/// Who pays for the job.
pub enum Paid {
    /// Nobody need: the job is paid for, and is this process's as long as it holds the lock.
    ByJob(Option<Jobs>),
    /// One token of the tree.
    ByToken(Payment),
}

impl Paid {
    /// What is held for it: a token, or the job's lock.
    pub fn split(self) -> (Option<Payment>, Option<Jobs>) {
        match self {
            Paid::ByToken(payment) => (Some(payment), None),
            Paid::ByJob(lock) => (None, lock),
        }
    }
}

impl Around {
    /// What the environment says, where what it says is there.
    pub fn look() -> Around {
        let named = std::env::var_os("MAKEFLAGS").and_then(|flags| makeflags::inherited(&flags));
        let inherited = named.filter(Foreign::is_there);
        let is_ours =
            inherited.as_ref().is_some_and(|inherited| std::env::var_os(AUTH) == Some(name_of(inherited)));
        let is_private = is_ours && std::env::var_os(PRIVATE).is_some_and(|value| !value.is_empty());
        let tree = if is_ours { tree_of_variable() } else { None };
        Around { is_named: inherited.is_some(), inherited, is_ours, is_private, tree, opened: Vec::new() }
    }

    /// The same, and where the environment has lost its way to our endpoint (emptied, or the descriptors closed) by what is
    /// known of the tree.
    pub fn look_further() -> Around {
        let around = Around::look();
        if around.is_any() {
            return around;
        }
        let tree = match std::env::var_os(TREE) {
            Some(_) => tree_of_variable(),
            None => tree_of_ancestors(),
        };
        tree.and_then(|(path, tree)| reach(path, tree)).unwrap_or(around)
    }

    /// There is one.
    pub fn is_any(&self) -> bool {
        self.inherited.is_some()
    }

    /// The gate around us can't be shared but by its endpoint.
    pub fn is_private(&self) -> bool {
        self.is_private
    }

    /// What we take has to be taken there, too.
    pub fn is_foreign(&self) -> bool {
        self.is_any() && (!self.is_ours || self.is_private)
    }

    /// It is one of ours.
    pub fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// The most jobs that the tree has, as far as that is known.
    pub fn jobs(&self) -> Option<u32> {
        self.tree.as_ref().map(|(_, tree)| tree.jobs)
    }

    /// The gate that was named for it, where that isn't in the environment any more.
    pub fn socket(&self) -> Option<PathBuf> {
        self.tree.as_ref().and_then(|(_, tree)| tree.socket.clone())
    }

    /// As its client.
    pub fn open(&self) -> io::Result<Foreign> {
        Foreign::open(self.inherited.as_ref().ok_or(io::ErrorKind::NotFound)?)
    }

    /// As its client, where it must be: what can't be had there isn't to be had at all.
    pub fn open_foreign(&self) -> io::Result<Option<Foreign>> {
        if self.is_foreign() { self.open().map(Some) } else { Ok(None) }
    }

    /// The tool can join it as it is.
    pub fn suits(&self, tool: Tool, choice: impl FnOnce() -> Choice) -> bool {
        let style = match &self.inherited {
            Some(Inherited::Pipe { .. }) => Style::Pipe,
            Some(Inherited::Fifo(_)) => Style::Fifo,
            None => return false,
        };
        match (tool, style) {
            // A make that knows a fifo knows a pipe; what else is started may be anything, and runs as it would.
            (Tool::Make, Style::Pipe) | (Tool::Other | Tool::Cargo, _) => true,
            (Tool::Make, Style::Fifo) | (Tool::Ninja, _) => {
                let choice = choice();
                choice.style == style && choice.joins
            }
        }
    }

    /// Leaves the endpoint to who is started from here on, and gives the variables by which it is found.
    pub fn leave(&self) -> io::Result<Vec<(&'static str, OsString)>> {
        self.opened.iter().try_for_each(leave_open)?;
        let (Some((path, tree)), false) = (&self.tree, self.is_named) else { return Ok(Vec::new()) };
        let auth = match &self.inherited {
            Some(Inherited::Pipe { read, write }) => Auth::Pipe { read: *read, write: *write },
            Some(Inherited::Fifo(path)) => Auth::Fifo { path: path.clone(), old_make: tree.old_make },
            None => return Ok(Vec::new()),
        };
        let mut variables = variables(&auth, tree.is_private);
        variables.push((TREE, path.into()));
        variables.extend(tree.socket.clone().map(|socket| (gate::SOCKET, socket.into())));
        Ok(variables)
    }

    /// Sees to it that the job that is started here is paid for: by the job around us, if nobody else there makes use of that,
    /// or by a token; waits for either.
    pub fn pay(&self) -> Paid {
        let (Some((path, tree)), true) = (&self.tree, self.is_ours) else { return Paid::ByJob(None) };
        let job = job_around(path, tree);
        let jobs = Jobs::open(path);
        if let (Some(held), Job::Paid(job)) = (&jobs, job)
            && held.lock(job).unwrap_or(true)
        {
            return Paid::ByJob(jobs);
        }
        let Ok(mut foreign) = self.open() else { return Paid::ByJob(None) };
        let clock = Clock::start();
        let by_token = loop {
            let now = clock.now().since(Moment::default());
            let may_use = match job {
                Job::Paid(job) => Some(job),
                Job::Orphan(command) => Some(command).filter(|_| tree.lends && now >= ORPHANS_WAIT),
                Job::Unpaid => None,
            };
            match (&jobs, may_use) {
                (Some(held), Some(job)) => match held.lock(job) {
                    Ok(true) | Err(_) => return Paid::ByJob(jobs),
                    Ok(false) => {}
                },
                // Paid for, and no way to see by whom it is used.
                (None, Some(_)) => return Paid::ByJob(None),
                (_, None) => {}
            }
            match foreign.take() {
                Ok(true) => break foreign,
                Ok(false) if now < MAX_WAIT => foreign.wait(LOOK),
                Ok(false) | Err(_) => return Paid::ByJob(None),
            }
        };
        let job = match job {
            Job::Paid(job) => jobs.map(|jobs| (jobs, job)),
            Job::Orphan(_) | Job::Unpaid => None,
        };
        Paid::ByToken(Payment::new(by_token, job))
    }
}

/// The variables by which a tree finds its endpoint, and by which a jobgate below knows where it is.
pub fn variables(auth: &Auth, is_private: bool) -> Vec<(&'static str, OsString)> {
    let flags = makeflags::compose(auth, std::env::var_os("MAKEFLAGS").as_deref()).value;
    // cargo prefers a variable of its own to MAKEFLAGS.
    let mut variables = vec![
        ("CARGO_MAKEFLAGS", flags.clone()),
        ("MAKEFLAGS", flags),
        (AUTH, name(auth)),
        (gate::INSIDE, "1".into()),
    ];
    if is_private || std::env::var_os(PRIVATE).is_some() {
        variables.push((PRIVATE, if is_private { "1" } else { "" }.into()));
    }
    if let Some(value) = std::env::var_os("GNUMAKEFLAGS") {
        variables.push(("GNUMAKEFLAGS", makeflags::strip(&value).value));
    }
    variables
}

/// We are below a tool that knows no jobserver, for which tokens are held.
pub fn is_held() -> bool {
    std::env::var_os(gate::INSIDE).is_some() && std::env::var_os(TREE).is_some_and(|tree| tree.is_empty())
}

/// ... and no more may be had than these.
pub fn is_held_alone() -> bool {
    is_held() && std::env::var_os(gate::INSIDE).is_some_and(|inside| inside == ALONE)
}

fn tree_of_variable() -> Option<(PathBuf, Tree)> {
    let path = std::env::var_os(TREE).map(PathBuf::from)?;
    let tree = Tree::parse(&tree_file::read(&path)?)?;
    Some((path, tree))
}

/// The tree of the nearest ancestor that has one.
fn tree_of_ancestors() -> Option<(PathBuf, Tree)> {
    let mut found = None;
    ancestors::chain_to(Path::new(ancestors::PROC), std::process::id() as i32, |ancestor| {
        let file = tree_file::of_anchor(ancestor.pid);
        let tree = file.and_then(|path| Some((tree_file::read(&path)?, path)));
        found = tree.and_then(|(text, path)| Some((path, Tree::parse(&text)?)));
        found = found.take().filter(|(_, tree)| tree.anchor_start == ancestor.start);
        found.is_some()
    });
    found
}

/// The endpoint of a tree, by its path or through the proxy's descriptors.
fn reach(path: PathBuf, tree: Tree) -> Option<Around> {
    let (inherited, opened) = match tree.auth.strip_prefix("fifo:") {
        Some(fifo) => (Inherited::Fifo(fifo.into()), Vec::new()),
        None => {
            let (read, write) = tree.auth.split_once(',')?;
            // One with pipes has started its tree itself: it is the anchor.
            let start = Some(tree.anchor_start).filter(|_| tree.proxy == tree.anchor)?;
            let ends = Foreign::reach(tree.proxy, start, read.parse().ok()?, write.parse().ok()?).ok()?;
            let [read, write] = [ends[0].as_raw_fd(), ends[1].as_raw_fd()];
            (Inherited::Pipe { read, write }, ends.into())
        }
    };
    Foreign::open(&inherited).ok()?;
    Some(Around {
        inherited: Some(inherited),
        is_ours: true,
        is_private: tree.is_private,
        is_named: false,
        tree: Some((path, tree)),
        opened,
    })
}

/// The command, which may be running some microseconds before that is written down.
fn command_of(path: &Path, tree: &Tree) -> i32 {
    let command = |text: &str| Tree::parse(text).map(|tree| tree.command).filter(|&command| command != 0);
    match tree.command {
        0 => tree_file::await_text(path, command).unwrap_or(0),
        command => command,
    }
}

/// The job in which a process is.
#[derive(Clone, Copy)]
enum Job {
    /// It is paid for; by its first process, 0 for one that can't be seen.
    Paid(i32),
    /// It hangs from the proxy, which has started another: this one.
    Orphan(i32),
    Unpaid,
}

fn job_around(path: &Path, tree: &Tree) -> Job {
    let own = std::process::id() as i32;
    let is_anchor = |ancestor: &Ancestor| (ancestor.pid, ancestor.start) == (tree.anchor, tree.anchor_start);
    // Nobody who was there before what the tree hangs from is in it: where that isn't an ancestor, who called is below others.
    let is_end = |ancestor: &Ancestor| {
        is_anchor(ancestor)
            || (ancestor.start >= tree.anchor_start
                && (starts_jobs(&ancestor.name) || shims::is_one(ancestor.pid)))
    };
    let mut chain = ancestors::chain_to(Path::new(ancestors::PROC), own, |ancestor| {
        ancestor.pid != own && is_end(ancestor)
    });
    let was_found = chain.last().is_some_and(is_end);
    // What a shim serves, and holds tokens for, goes by its name as a rule, and starts the jobs.
    if let [.., tool, shim] = &chain[..]
        && (tool.pid != own && tool.name == shim.name && !is_anchor(shim) && shims::is_one(shim.pid))
    {
        chain.pop();
    }
    let end = chain.last().filter(|end| end.pid != own);
    let root = end.and_then(|end| job_root(&chain, &[end.pid])).map(|job| job.root.0);
    match (end, root) {
        (Some(end), _) if is_anchor(end) && !tree.is_paid => Job::Unpaid,
        (Some(end), Some(root)) if is_anchor(end) => match command_of(path, tree) {
            // One job after the other: whatever hangs from it.
            command if command == tree.anchor || command == root => Job::Paid(command),
            command => Job::Orphan(command),
        },
        (Some(_), Some(root)) if was_found => Job::Paid(root),
        // Another pid namespace, or one that has left the tree.
        (_, _) if std::env::var_os(gate::INSIDE).is_some() => Job::Paid(0),
        (_, _) => Job::Unpaid,
    }
}
