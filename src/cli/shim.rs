//! A shim: what stands for make or ninja on PATH, and makes a client of the gate of it.
//!
//! Doesn't know where it was called; what there is around it says what is done. Where no gate is, or anything is amiss, it is
//! the tool itself: same arguments, output and status, and no word.

use super::around::Around;
use super::guest::{self, Guest};
use super::{Failure, bitbake, launch, listed, run};
use crate::proto::argv::{self, Tool};
use crate::proto::makeflags;
use crate::sys::child::CommandLine;
use crate::sys::notify::Original;
use crate::sys::say::say;
use crate::sys::{shims, tools, users};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// No command was found, as shells and env(1) say it.
const NOT_FOUND: i32 = 127;

/// Everything from the process's start on.
pub fn main(name: &str, original: &Original) -> ! {
    let mut words = std::env::args_os();
    let called = words.next().unwrap_or_else(|| name.into());
    let Some(real) = shims::real(name) else {
        say(&format!("{name}: not found: there is only jobgate's stand-in for it on PATH"));
        std::process::exit(NOT_FOUND);
    };
    // It says its name in messages and in $(MAKE): by the name that it was called by, or by its own path.
    let program = if called.as_bytes().contains(&b'/') { real.clone().into_os_string() } else { called };
    let given = CommandLine { program, file: Some(real), args: words.collect() };
    if users::acts_for_another() {
        // Our variables are that one's caller's, whom it mustn't trust.
        launch::become_command(&given, &[], original);
    }
    if name == shims::BITBAKE {
        bitbake::call(given, original);
    }
    let tool = Tool::of(OsStr::new(name));
    let mut listed = if tool == Tool::Other { listed::tools() } else { Vec::new() }.into_iter();
    let number = listed.find(|(listed, _)| listed == name).map(|(_, number)| number);
    let is_known = tool != Tool::Other || number.is_some();
    if std::env::var_os(tools::ASKING).is_some() || !is_known || runs_nothing(tool, &given.args) {
        launch::become_command(&given, &[], original);
    }
    let around = Around::look_further();
    let guest = Guest::new(given, tool, number, None);
    if around.is_any() {
        guest::join(guest, around, original)
    } else {
        run::stand_for(guest, around, original)
    }
}

/// `jobgate shims`
pub fn tell_folder() -> Result<(), Failure> {
    let folder = shims::install(&listed::names())
        .map_err(|error| Failure(format!("can't install the shims: {error}")))?;
    let line = format!("{}\n", folder.display());
    let said = std::io::stdout().write_all(line.as_bytes()).and_then(|()| std::io::stdout().flush());
    said.map_err(|error| Failure(format!("nobody reads the folder's name: {error}")))
}

/// What stands for the tools below, put there where it is missing; else a sentence about that, where it is worth one: those that
/// are told a `-j` leave the pool. Where there is no place for it, it is as it was meant.
pub fn folder() -> Result<PathBuf, Option<String>> {
    shims::install(&listed::names()).map_err(|error| {
        let says = !shims::is_no_place(&error);
        says.then(|| {
            format!("no shims ({error}): tools below that are told a -j of their own leave the gate")
        })
    })
}

fn runs_nothing(tool: Tool, args: &[OsString]) -> bool {
    let of_make = |name: &str| std::env::var_os(name).is_some_and(|flags| makeflags::asks_nothing(&flags));
    argv::asks_nothing(tool, args)
        || (tool == Tool::Make && (of_make("MAKEFLAGS") || of_make("GNUMAKEFLAGS")))
}
