//! The places where jobgate calls the system: what they are called, and which errors each call may end by.
//!
//! Doesn't know how one is made to fail, nor what may come of it.

use super::scenes::Scene;
use super::stage::Kind;
use super::{Kit, is_own};
use std::path::Path;

/// How far a site is told apart: so many calls of jobgate's own functions on the way to the system. `all`: as far as it matters.
pub const fn depth(all: bool) -> u32 {
    if all { 4 } else { 3 }
}

/// One place.
#[derive(Clone, Debug)]
pub struct Site {
    /// By which it is known, as long as the program is the same.
    pub hash: u64,
    /// What is called.
    pub function: String,
    /// It may move fewer bytes than it is asked to.
    pub may_be_short: bool,
    /// The calls that lead there, the innermost first.
    pub calls: Vec<u32>,
}

impl Site {
    /// Jobgate's own functions on the way there, the innermost first.
    pub fn own<'a>(&self, kit: &'a Kit) -> Vec<&'a str> {
        self.calls.iter().map(|&call| kit.name_of(call)).filter(|name| is_own(name)).collect()
    }

    /// For people.
    pub fn name(&self, kit: &Kit) -> String {
        let short = |name: &str| name.replace("jobgate::", "").replace("{{closure}}", "{}");
        let own: Vec<String> = self.own(kit).into_iter().map(short).collect();
        let at = if own.is_empty() {
            kit.name_of(*self.calls.last().unwrap_or(&0)).to_owned()
        } else {
            own.join(" < ")
        };
        format!("{} in {at}", self.function)
    }

    /// The errors that it may end by: the most telling one first.
    pub fn errors(&self) -> &'static [i32] {
        ERRORS
            .iter()
            .find(|(names, _)| names.split(' ').any(|name| name == self.function))
            .map(|(_, errors)| *errors)
            .unwrap_or_else(|| panic!("{} isn't in the table of errors", self.function))
    }
}

/// Reads what the library wrote down.
pub fn read(notes: &Path) -> Vec<Site> {
    let text = std::fs::read_to_string(notes).unwrap_or_default();
    let site = |line: &str| {
        let mut words = line.split(' ');
        let hash = u64::from_str_radix(words.next()?, 16).ok()?;
        let function = words.next()?.to_owned();
        let may_be_short = words.next()?.parse::<u32>().ok()? & 2 != 0;
        let calls = words.next()?.split(',').filter_map(|call| u32::from_str_radix(call, 16).ok()).collect();
        Some(Site { hash, function, may_be_short, calls })
    };
    text.lines().map(|line| site(line).unwrap_or_else(|| panic!("{line:?}"))).collect()
}

use libc::*;

/// By the manual pages: what the kernel can answer, as far as that is a matter of the machine.
const ERRORS: &[(&str, &[i32])] = &[
    ("open open64 openat", &[EMFILE, EACCES, ENOENT, EIO]),
    ("opendir", &[EMFILE, EACCES]),
    ("pipe2 socket socketpair epoll_create1 signalfd inotify_init1", &[EMFILE, ENOMEM]),
    ("fcntl(dup) dup", &[EMFILE, EINVAL]),
    ("dup2 dup3", &[EBUSY, EINTR]),
    ("fcntl(lock)", &[ENOLCK, EAGAIN]),
    ("fcntl(size)", &[EPERM, ENOMEM]),
    ("fcntl(get) fcntl(set)", &[EINVAL, ENOMEM]),
    ("flock", &[ENOLCK, EWOULDBLOCK, EINTR]),
    ("ioctl ioctl(count)", &[ENOTTY, EIO]),
    ("read", &[EIO, EAGAIN, EINTR]),
    ("recv recvmsg", &[ECONNRESET, EAGAIN, EINTR]),
    ("pread64", &[EIO, EINTR]),
    ("write writev", &[EIO, ENOSPC, EAGAIN, EINTR]),
    ("pwrite64", &[ENOSPC, EIO]),
    ("send sendto sendmsg", &[EPIPE, ENOBUFS, EAGAIN, EINTR]),
    ("sendfile64 splice copy_file_range", &[EIO, ENOSPC]),
    ("tee", &[ENOMEM, EINVAL]),
    ("getrandom", &[ENOSYS, EINTR]),
    ("readlink readlinkat realpath access faccessat", &[EACCES, EIO]),
    ("stat stat64 lstat lstat64 statx fstat fstat64 fstatat statvfs", &[EACCES, EIO, ENOMEM]),
    ("lseek64", &[ESPIPE, EINVAL]),
    ("ftruncate64", &[EPERM, EIO, EINTR]),
    ("bind", &[EACCES, ENOSPC]),
    ("listen", &[EADDRINUSE, EOPNOTSUPP]),
    ("accept4", &[EMFILE, ECONNABORTED, EINTR]),
    ("connect", &[EACCES, EAGAIN, ECONNREFUSED, EINTR]),
    ("getsockname getpeername getsockopt setsockopt shutdown", &[ENOBUFS, EINVAL]),
    ("epoll_ctl", &[ENOSPC, ENOMEM]),
    ("inotify_add_watch", &[ENOSPC, EACCES]),
    ("inotify_rm_watch", &[EINVAL]),
    ("epoll_wait", &[EINTR, EINVAL]),
    ("poll", &[ENOMEM, EINTR]),
    ("mkdir mkdirat mkfifo symlink linkat", &[EACCES, ENOSPC, EEXIST]),
    ("rename renameat", &[EACCES, ENOSPC]),
    ("unlink unlinkat", &[EACCES, EBUSY]),
    ("chmod fchmod fchmodat futimens", &[EPERM, EIO]),
    ("chdir getcwd", &[EACCES, ENOENT]),
    ("close", &[EIO, EINTR]),
    ("readdir64", &[EIO, ENOENT]),
    ("closedir", &[EINTR]),
    ("fork posix_spawnp", &[EAGAIN, ENOMEM]),
    ("execve execvp", &[ENOMEM, EACCES, E2BIG]),
    ("waitpid", &[ECHILD, EINTR]),
    ("waitid", &[ECHILD, EINTR]),
    ("kill raise", &[EPERM, ESRCH]),
    ("setsid getsid", &[EPERM, ESRCH]),
    ("prctl", &[EINVAL, EPERM]),
    ("getrlimit setrlimit sched_getaffinity", &[EPERM, EINVAL]),
    ("sigaction signal sigprocmask", &[EINVAL, EFAULT]),
    ("sigtimedwait", &[EAGAIN, EINTR]),
    ("clock_nanosleep", &[EINTR]),
    ("getpwnam_r getpwuid_r getgrnam_r", &[EMFILE, EIO]),
    ("syscall(pidfd_open)", &[EMFILE, ENOSYS]),
    ("syscall(close_range)", &[ENOSYS, ENOMEM]),
    ("syscall(sched_getattr) syscall(sched_setattr)", &[ENOSYS, EPERM]),
];

/// What may come of a fault after all.
struct Allowed {
    /// Of a call of one of these; empty: of any.
    functions: &'static [&'static str],
    /// ... with one of these on the way to it; empty: with any.
    own: &'static [&'static str],
    /// ... in one of these scenes; empty: in any.
    scenes: &'static [&'static str],
    /// ... that ends by one of these; empty: by any.
    errors: &'static [i32],
    kinds: &'static [Kind],
    /// Why it can't be otherwise.
    why: &'static str,
}

const ALLOWED: &[Allowed] = &[
    Allowed {
        functions: &["read"],
        own: &["notify::read"],
        scenes: &[],
        errors: &[EAGAIN],
        kinds: &[Kind::Late, Kind::Left, Kind::End],
        why: "the kernel says so only where no signal waits, and then one comes with an event of its own",
    },
    Allowed {
        functions: &["recv"],
        own: &["Conn::fill", "await_lease"],
        scenes: &[],
        errors: &[EAGAIN],
        kinds: &[Kind::Late, Kind::Left, Kind::Peak],
        why: "the kernel says so only where nothing waits, or a second later; what is unread makes no event",
    },
    Allowed {
        functions: &["flock"],
        own: &["Server::is_over"],
        scenes: &[],
        errors: &[EWOULDBLOCK],
        kinds: &[Kind::Late, Kind::Left],
        why: "somebody holds the lock, for ever: then somebody is about to come",
    },
    Allowed {
        functions: &["unlink", "unlinkat"],
        own: &[],
        scenes: &[],
        errors: &[],
        kinds: &[Kind::Left],
        why: "what couldn't be taken away stays; the next run clears its folder",
    },
    Allowed {
        functions: &["stat", "stat64", "lstat64", "statx", "fstat", "fstat64"],
        own: &["Drop>::drop", "socket::identity"],
        scenes: &[],
        errors: &[],
        kinds: &[Kind::Left],
        why: "what may be another's by now isn't taken away",
    },
    Allowed {
        functions: &[],
        own: &["folder::clear_abandoned", "fifo::is_abandoned"],
        scenes: &["own"],
        errors: &[],
        kinds: &[Kind::Left],
        why: "what the dead have left is cleared if it can be looked at, else by the next run",
    },
    Allowed {
        functions: &["signal", "sigaction", "sigprocmask"],
        own: &[],
        scenes: &[],
        errors: &[],
        kinds: &[Kind::Panic, Kind::Words, Kind::End],
        why: "sigaction(2): they fail for bad arguments alone; Rust's own start-up and exec give up where they do",
    },
    Allowed {
        functions: &["execvp"],
        own: &[],
        scenes: &[],
        errors: &[],
        kinds: &[Kind::End],
        why: "what exec says of the command it would say without jobgate",
    },
    Allowed {
        functions: &["recv", "read", "send", "write", "recvmsg", "sendmsg"],
        own: &["sys::child::start", "sys::tools::ask_version"],
        scenes: &[],
        errors: &[],
        kinds: &[Kind::Panic, Kind::Words, Kind::End, Kind::Left],
        why: "the line between the halves of Rust's own Command, which nobody else has; it gives up where that breaks",
    },
    Allowed {
        functions: &["waitpid", "waitid"],
        own: &[],
        scenes: &[],
        errors: &[],
        kinds: &[Kind::Scene],
        why: "a child that can't be waited for stays a zombie, until the next one ends or we do",
    },
    Allowed {
        functions: &["kill"],
        own: &["child::terminate", "Child::pass_on"],
        scenes: &["signals", "halt"],
        errors: &[],
        kinds: &[Kind::End],
        why: "the command can't be told",
    },
    Allowed {
        functions: &["write"],
        own: &["Foreign::give_back"],
        scenes: &["foreign", "foreign fifo"],
        errors: &[],
        kinds: &[Kind::Words],
        why: "make notes that a token hasn't come back",
    },
    Allowed {
        functions: &[],
        own: &["around::Around::pay", "launch::Written::new", "tree_file::"],
        scenes: &[],
        errors: &[],
        kinds: &[Kind::Peak],
        why: "a job that can't be seen may run one more than is paid for (README)",
    },
    Allowed {
        functions: &[],
        own: &["sys::ancestors::"],
        scenes: &["serve, jobs in jobs"],
        errors: &[],
        kinds: &[Kind::Peak],
        why: "who isn't seen to be inside a job waits for a lease of its own, and starts above the limit in the end",
    },
    Allowed {
        functions: &[],
        own: &[],
        scenes: &["shim outside"],
        errors: &[],
        kinds: &[Kind::Peak],
        why: "without a gate that can be reached a shim is the tool itself, and says no word",
    },
    Allowed {
        functions: &[],
        own: &[],
        scenes: &["shim in an empty environment"],
        errors: &[],
        kinds: &[Kind::Peak],
        why: "a shim that has lost its tree, and can't look for it, is the tool itself",
    },
];

/// Why this may come of a fault at this site; `None`: it mustn't.
pub fn allowance(site: &Site, scene: &Scene, error: i32, kind: Kind, kit: &Kit) -> Option<&'static str> {
    let own = site.own(kit);
    let is =
        |list: &[&str], holds: &dyn Fn(&str) -> bool| list.is_empty() || list.iter().any(|word| holds(word));
    let found = ALLOWED.iter().find(|allowed| {
        allowed.kinds.contains(&kind)
            && (allowed.errors.is_empty() || allowed.errors.contains(&error))
            && is(allowed.functions, &|function| function == site.function)
            && is(allowed.own, &|word| own.iter().any(|name| name.contains(word)))
            && is(allowed.scenes, &|name| name == scene.name)
    });
    found.map(|allowed| allowed.why)
}
