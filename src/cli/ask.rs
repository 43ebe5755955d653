//! `jobgate status` and `jobgate set`: asks a running gate, and shows what it says.
//!
//! Doesn't know where the figures come from.

use super::args::{SetArgs, StatusArgs};
use super::{Failure, gate, table};
use crate::proto::view::View;
use crate::proto::wire::{Reply, Request};
use crate::proxy::link::Link;
use crate::sys::clock;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Between two looks of `--watch`.
const AGAIN: Duration = Duration::from_secs(1);

/// `jobgate status`.
pub fn status(args: &StatusArgs) -> Result<(), Failure> {
    let mut link = gate::running(args.socket.as_deref())?;
    loop {
        let view = ask(&mut link)?;
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

fn ask(link: &mut Link) -> Result<View, Failure> {
    match link.question(&Request::Status) {
        Ok(Reply::Status(view)) => Ok(*view),
        Ok(_) => Err(Failure("the gate doesn't say how it stands".to_owned())),
        Err(error) => Err(Failure(format!("the gate is gone: {error}"))),
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
        Err(error) => Err(Failure(format!("the gate is gone: {error}"))),
    }
}
