//! `jobgate status` and `jobgate set`: asks a running gate, and shows what it says.
//!
//! Doesn't know where the figures come from.

use super::args::{SetArgs, StatusArgs};
use super::{Failure, gate, table};
use crate::proto::view::{ClientView, View};
use crate::proto::wire::{Reply, Request};
use crate::proxy::link::Link;
use crate::sys::witness::WITNESS;
use crate::sys::{ancestors, clock};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

/// Between two looks of `--watch`.
const AGAIN: Duration = Duration::from_secs(1);

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
/// would be too much they are asked first.
fn look(link: &mut Link) -> Result<View, Failure> {
    let mut view = ask(link)?;
    let before: BTreeMap<u64, u64> = view.clients.iter().map(|client| (client.id, client.reports)).collect();
    if !note_lost(&mut view) {
        return Ok(view);
    }
    let suspects: Vec<u64> =
        view.clients.iter().filter(|client| client.lost > 0).map(|client| client.id).collect();
    link.have_counted().map_err(gone)?;
    for _ in 0..LOOKS {
        clock::pause(SOON);
        view = ask(link)?;
        let is_old = |client: &ClientView| before.get(&client.id) == Some(&client.reports);
        if !view.clients.iter().any(|client| suspects.contains(&client.id) && is_old(client)) {
            break;
        }
    }
    note_lost(&mut view);
    for client in &mut view.clients {
        if before.get(&client.id) == Some(&client.reports) {
            client.lost = 0; // it hasn't answered
        }
    }
    Ok(view)
}

/// Notes what each client's tree holds beyond the threads that live there; whether there is such a one. Where
/// processes have other numbers than at the server nothing is noted.
fn note_lost(view: &mut View) -> bool {
    if view.pid_namespace != ancestors::pid_namespace() || view.clients.iter().all(|client| client.held == 0)
    {
        return false;
    }
    let groups: Vec<&[i32]> = view.clients.iter().map(|client| &client.roots[..]).collect();
    let trees = ancestors::below(Path::new(ancestors::PROC), &groups);
    for (client, tree) in view.clients.iter_mut().zip(trees) {
        let Some(tree) = tree.filter(|_| client.held > 0 && !client.roots.is_empty()) else { continue };
        let ours = tree.iter().filter(|stat| stat.name != WITNESS.to_bytes());
        let threads: u32 = ours.map(|stat| stat.threads).sum();
        // A process that a proxy is bound to is one that lives itself.
        let others = client.roots.iter().filter(|&&root| root != client.pid).count() as u32;
        let implicit = u32::from(client.lease > 0 || client.borrowed);
        client.lost = (client.held + implicit).saturating_sub(threads + others).min(client.held);
    }
    view.clients.iter().any(|client| client.lost > 0)
}

fn gone(error: io::Error) -> Failure {
    Failure(format!("the gate is gone: {error}"))
}

fn ask(link: &mut Link) -> Result<View, Failure> {
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
