//! Which style suits the command, by the tool it is and the makes that it may start.
//!
//! Doesn't know how either style works. Measured: make < 4.4 dies of a fifo; stock ninja knows nothing but a fifo, and
//! a pipe with one token in it serves Kitware's badly.

use super::settings::StyleWish;
use crate::policy::endpoint::Style;
use crate::proto::argv::Tool;
use crate::sys::tools;
use std::ffi::OsStr;
use std::path::PathBuf;

/// GNU make knows `fifo:` from here on.
const FIFO_SINCE: (u32, u32) = (4, 4);

/// Where a make lies that a script may call by its path, or with a PATH of its own.
const USUAL_FOLDERS: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// What was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub style: Style,
    /// A `make` below would find one that dies of a fifo: it is to be kept out.
    pub old_make: bool,
}

/// Chooses for `program`, which is `tool`.
pub fn choose(wish: StyleWish, tool: Tool, program: &OsStr) -> Choice {
    let plain = |style| Choice { style, old_make: false };
    let by_makes = |all_new: bool| plain(if all_new { Style::Fifo } else { Style::Pipe });
    match (wish, tool) {
        (StyleWish::Pipe, _) => plain(Style::Pipe),
        (StyleWish::Fifo, _) => plain(Style::Fifo),
        (StyleWish::Auto, Tool::Make) => by_makes(all_know_fifos(tools::resolve(program).into_iter())),
        (StyleWish::Auto, Tool::Ninja | Tool::Cargo) => {
            let found = ["make", "gmake"].iter().filter_map(|name| tools::resolve(OsStr::new(name)));
            Choice { style: Style::Fifo, old_make: !all_know_fifos(found) }
        }
        (StyleWish::Auto, Tool::Other) => by_makes(all_know_fifos(every_make())),
    }
}

/// Every make that a script could reach.
fn every_make() -> impl Iterator<Item = PathBuf> {
    let names = ["make", "gmake"];
    let usual = USUAL_FOLDERS.iter().flat_map(move |folder| {
        names
            .map(|name| PathBuf::from(folder).join(name))
            .into_iter()
            .filter(|file| tools::is_executable(file))
    });
    names.into_iter().flat_map(|name| tools::on_path(OsStr::new(name))).chain(usual)
}

/// Whether all of them are GNU make 4.4 or newer.
fn all_know_fifos(makes: impl Iterator<Item = PathBuf>) -> bool {
    let versions = tools::gnu_make_versions(makes);
    versions.into_iter().all(|version| version.is_some_and(|version| version >= FIFO_SINCE))
}
