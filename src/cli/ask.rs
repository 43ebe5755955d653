//! `jobgate status` and `jobgate set`: asks a running gate, and shows what it says.
//!
//! Doesn't know where the figures come from.

use super::args::{SetArgs, StatusArgs};
use super::{Failure, gate, table};
use crate::proto::ancestry::Stat;
use crate::proto::view::{ClientView, View};
use crate::proto::wire::{Reply, Request};
use crate::proxy::link::Link;
use crate::sys::witness::WITNESS;
use crate::sys::{ancestors, clock};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

/// Between two looks of `--watch`.
const AGAIN: Duration = Duration::from_secs(1);

/// So often those are counted again who seem to have lost something.
const COUNTS: u32 = 6;

/// So often, at such intervals, it is looked whether proxies have counted.
const LOOKS: u32 = 50;
const SOON: Duration = Duration::from_millis(2);

/// `jobgate status`.
pub fn status(args: &StatusArgs) -> Result<(), Failure> {
    let mut link = gate::running(args.socket.as_deref())?;
    loop {
        let view = look(&mut link)?;
        let text = if args.json {
            serde_json::to_string(&view).map_err(|error| Failure(error.to_string()))? + "\n"
        } else {
            table::draw(&view)
        };
        // On a terminal the last look is replaced; elsewhere each stands for itself.
        let clear = if args.watch && !args.json && io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        if io::stdout()
            .write_all(format!("{clear}{text}").as_bytes())
            .and_then(|()| io::stdout().flush())
            .is_err()
        {
            return Ok(()); // nobody reads any more
        }
        if !args.watch {
            return Ok(());
        }
        clock::pause(AGAIN);
    }
}

/// How it stands, with the tokens that nobody who lives can have. What proxies report is what is news to the server: where it
/// would be too much they are asked first. Only a tree in which nobody has come or gone from a look before the count to the
/// second one after it proves anything: a look at all processes isn't one moment, and misses who ends meanwhile.
fn look(link: &mut Link) -> Result<View, Failure> {
    let mut view = ask(link)?;
    let mut trees = trees(&view);
    let mut suspects: BTreeSet<u64> =
        view.clients.iter().filter(|client| missing(client, &trees) > 0).map(|client| client.id).collect();
    let mut lost: BTreeMap<u64, u32> = BTreeMap::new();
    for _ in 0..COUNTS {
        if suspects.is_empty() {
            break;
        }
        let before = reports(&view);
        view = count(link, &before, &suspects)?;
        let now = self::trees(&view);
        let after = self::trees(&view);
        for client in &view.clients {
            let has_answered = before.get(&client.id).is_some_and(|&reports| reports != client.reports);
            let missing = missing(client, &now);
            let tree = now.get(&client.id);
            let is_still = tree == trees.get(&client.id) && tree == after.get(&client.id);
            if missing == 0 || !has_answered {
                suspects.remove(&client.id);
            } else if is_still && suspects.remove(&client.id) {
                lost.insert(client.id, missing);
            }
        }
        suspects.retain(|id| view.clients.iter().any(|client| client.id == *id));
        trees = after;
    }
    for client in &mut view.clients {
        client.lost = lost.get(&client.id).copied().unwrap_or(0);
    }
    Ok(view)
}

/// How it stands once the suspects have counted, or don't answer.
fn count(link: &mut Link, before: &BTreeMap<u64, u64>, suspects: &BTreeSet<u64>) -> Result<View, Failure> {
    link.have_counted().map_err(gone)?;
    let mut view = ask(link)?;
    for _ in 0..LOOKS {
        let now = reports(&view);
        if !suspects.iter().any(|id| now.contains_key(id) && now.get(id) == before.get(id)) {
            break;
        }
        clock::pause(SOON);
        view = ask(link)?;
    }
    Ok(view)
}

/// How often each client has reported.
fn reports(view: &View) -> BTreeMap<u64, u64> {
    view.clients.iter().map(|client| (client.id, client.reports)).collect()
}

/// The processes of a client's tree by pid.
type Tree = BTreeMap<i32, Process>;

/// What tells two looks apart.
#[derive(Debug, PartialEq)]
struct Process {
    start: u64,
    threads: u32,
    /// More when it has taken a child's status: who came and went between two looks.
    reaped_faults: u64,
}

impl Process {
    fn of(stat: &Stat) -> Process {
        Process { start: stat.start, threads: stat.threads, reaped_faults: stat.reaped_faults }
    }
}

/// The trees of those who hold something, by the clients' ids. Where processes have other numbers than at the server there are
/// none. A tool has the token of a job that has ended until it takes its status, so that one is there, too.
fn trees(view: &View) -> BTreeMap<u64, Tree> {
    if view.pid_namespace != ancestors::pid_namespace() || view.clients.iter().all(|client| client.held == 0)
    {
        return BTreeMap::new();
    }
    let groups: Vec<&[i32]> = view.clients.iter().map(|client| &client.roots[..]).collect();
    let found = ancestors::below_with_ended(Path::new(ancestors::PROC), &groups);
    let clients = view.clients.iter().zip(found).filter(|(client, _)| !client.roots.is_empty());
    clients
        .filter_map(|(client, tree)| {
            let ours = tree?.into_iter().filter(|stat| stat.name != WITNESS.to_bytes());
            Some((client.id, ours.map(|stat| (stat.pid, Process::of(&stat))).collect()))
        })
        .collect()
}

/// What a client's tree holds beyond the threads that are there; 0 where it isn't seen.
fn missing(client: &ClientView, trees: &BTreeMap<u64, Tree>) -> u32 {
    let Some(tree) = trees.get(&client.id) else { return 0 };
    let threads: u32 = tree.values().map(|process| process.threads).sum();
    // A process that a proxy is bound to is one that lives itself.
    let others = client.roots.iter().filter(|&&root| root != client.pid).count() as u32;
    let implicit = u32::from(client.lease > 0 || client.borrowed);
    (client.held + implicit).saturating_sub(threads + others).min(client.held)
}

fn gone(error: io::Error) -> Failure {
    Failure(format!("the gate is gone: {error}"))
}

/// How the gate says that it stands.
pub fn ask(link: &mut Link) -> Result<View, Failure> {
    match link.question(&Request::Status) {
        Ok(Reply::Status(view)) => Ok(*view),
        Ok(_) => Err(Failure("the gate doesn't say how it stands".to_owned())),
        Err(error) => Err(gone(error)),
    }
}

/// `jobgate set`.
pub fn set(args: &SetArgs) -> Result<(), Failure> {
    let mut set = BTreeMap::new();
    for setting in &args.settings {
        let Some((key, value)) = setting.split_once('=') else {
            return Err(Failure(format!("'{setting}' is no setting: give KEY=VALUE, as in jobs=4")));
        };
        set.insert(key.to_owned(), value.to_owned());
    }
    let mut link = gate::running(args.socket.as_deref())?;
    match link.question(&Request::Set(set)) {
        Ok(Reply::Set { .. }) => Ok(()),
        Ok(Reply::Refused { why, .. }) => Err(Failure(why)),
        Ok(_) => Err(Failure("the gate doesn't say whether it is set".to_owned())),
        Err(error) => Err(gone(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// held, lease, borrowed, roots beside its own, threads of each process, missing
    type Row = (u32, u32, bool, &'static [i32], &'static [u32], u32);

    #[test]
    fn what_is_held_beyond_the_threads_is_missing() {
        #[rustfmt::skip]
        let rows: [Row; 9] = [
            (5, 1, false, &[], &[1, 1], 4),
            (1, 1, false, &[], &[1, 1], 0),
            (1, 1, false, &[], &[1], 1),
            (5, 1, false, &[], &[1, 5], 0),      // threads have tokens, too
            (5, 0, true, &[], &[1, 1], 4),       // what is borrowed is one more
            (5, 0, false, &[], &[1, 1], 3),
            (5, 1, false, &[8], &[1, 1], 3),     // who it is bound to
            (3, 1, false, &[], &[], 3),          // a lease is never lost
            (0, 1, false, &[], &[], 0),
        ];
        for (held, lease, borrowed, others, threads, expected) in rows {
            let roots = [&[7], others].concat();
            let client = ClientView { id: 1, pid: 7, held, lease, borrowed, roots, ..ClientView::default() };
            let tree = (10..)
                .zip(threads)
                .map(|(pid, &threads)| (pid, Process { start: 5, threads, reaped_faults: 0 }))
                .collect();
            assert_eq!(missing(&client, &[(1, tree)].into()), expected, "{client:?} {threads:?}");
            assert_eq!(missing(&client, &BTreeMap::new()), 0, "what isn't seen");
        }
    }
}
