//! The shim called `bitbake`: brings our layer into a build by its environment alone.
//!
//! Doesn't know what the layer does. What bitbake itself is, its arguments and its PATH stay as they are without us.

use super::around::Around;
use super::{gate, launch};
use crate::sys::child::CommandLine;
use crate::sys::notify::Original;
use crate::sys::say::say;
use crate::sys::{layer, shims};
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// bitbake's own way in, since 2016 (`lib/bb/main.py`): one file that is read after all others, as with `-R`.
const POSTCONF: &str = "BBPOSTCONF";

/// The process whose job pays for the first task that asks.
const LENDER: &str = "JOBGATE_LENDER";

/// This program, for the tasks: their PATH is bitbake's.
const PROGRAM: &str = "JOBGATE_PROGRAM";

/// Whether a program is bitbake: it compiles nothing itself, and each of its tasks pays.
pub fn is_bitbake(program: &OsStr) -> bool {
    Path::new(program).file_name() == Some(OsStr::new(shims::BITBAKE))
}

/// Becomes bitbake; with the layer, where there is a gate to be shared.
pub fn call(mut given: CommandLine, original: &Original) -> ! {
    let around = Around::look_further();
    if around.is_private() {
        say(
            "bitbake's tasks can't share a private gate; the build runs without it (give --socket instead of --private)",
        );
        launch::become_command(&given, &[], original);
    }
    if !around.is_ours() && gate::running(None).is_err() {
        launch::become_command(&given, &[], original);
    }
    let folder = shims::folder();
    let configuration = match folder.as_deref().map(layer::install) {
        Some(Ok(configuration)) => configuration,
        Some(Err(error)) => {
            say(&format!("bitbake's layer can't be written ({error}); the build runs without the gate"));
            launch::become_command(&given, &[], original);
        }
        None => launch::become_command(&given, &[], original),
    };
    let mut variables: Vec<(&str, OsString)> = vec![(LENDER, std::process::id().to_string().into())];
    variables.extend(std::env::current_exe().ok().map(|program| (PROGRAM, program.into_os_string())));
    variables.extend(around.socket().map(|socket| (gate::SOCKET, socket.into())));
    // hosttools and BITBAKEPATH are made by what PATH has first, and stay: tasks get the shims from the layer instead.
    variables.extend(shims::path_without().map(|path| ("PATH", path)));
    match std::env::var_os(POSTCONF).filter(|file| !file.is_empty()) {
        None => variables.push((POSTCONF, configuration.into())),
        Some(file) if file == configuration => {}
        // Only one file can stand there.
        Some(_) => drop(given.args.splice(0..0, [OsString::from("-R"), configuration.into()])),
    }
    launch::become_command(&given, &variables, original)
}
