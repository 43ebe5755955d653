//! Which style suits the command, by the tool it is and the makes that it may start.
//!
//! Doesn't know how either style works. Measured: make < 4.4 dies of a fifo; stock ninja knows nothing but a fifo, and
//! a pipe with one token in it serves Kitware's badly.

use super::settings::StyleWish;
use crate::policy::endpoint::Style;
use crate::proto::argv::Tool;
use crate::proto::findings::tools::FIFO_SINCE;
use crate::proto::text::{NinjaJoins, gnu_make_version, ninja_joins};
use crate::sys::tools;
use std::ffi::OsStr;
use std::path::PathBuf;

/// Where a make lies that a script may call by its path, or with a PATH of its own.
pub(super) const USUAL_FOLDERS: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// What was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub style: Style,
    /// A make below may be one that dies of a fifo: it is to be kept out.
    pub old_make: bool,
    /// The tool will join; else it needs a `-j` of its own.
    pub joins: bool,
}

/// Chooses for `program`, which is `tool`.
pub fn choose(wish: StyleWish, tool: Tool, program: &OsStr) -> Choice {
    let style = match (wish, tool) {
        (StyleWish::Pipe, _) => Style::Pipe,
        (StyleWish::Fifo, _) => Style::Fifo,
        (StyleWish::Auto, Tool::Ninja) => return for_ninja(program, None),
        (StyleWish::Auto, Tool::Make) => match tools::resolve(program) {
            Some(make) => by_makes(std::iter::once(make)),
            None => Style::Pipe,
        },
        // cargo tells build scripts of its pool in words of its own, with no way to keep an old make out; it joins a
        // pipe as well.
        (StyleWish::Auto, Tool::Cargo | Tool::Other) => by_makes(every_make()),
    };
    match tool {
        Tool::Ninja => for_ninja(program, Some(style)),
        Tool::Make | Tool::Cargo | Tool::Other => Choice { style, old_make: false, joins: true },
    }
}

/// The `make` on PATH, where it is one that knows no fifo: it couldn't join.
pub fn make_that_dies_of_a_fifo() -> Option<PathBuf> {
    tools::resolve(OsStr::new("make")).filter(|make| by_makes(std::iter::once(make.clone())) == Style::Pipe)
}

/// Whether a make that somebody could reach would die of a fifo, unless it is kept out.
pub fn some_make_is_old() -> bool {
    by_makes(every_make()) == Style::Pipe
}

/// A fifo serves ninja best; one that knows only a pipe gets that.
fn for_ninja(program: &OsStr, wish: Option<Style>) -> Choice {
    let text = tools::version_texts(tools::resolve(program).into_iter()).pop().flatten();
    // One that doesn't say is taken for a new one.
    let joins = text.and_then(|text| ninja_joins(&text)).unwrap_or(NinjaJoins { fifo: true, pipe: false });
    let style = wish.unwrap_or(if joins.pipe && !joins.fifo { Style::Pipe } else { Style::Fifo });
    match style {
        Style::Pipe => Choice { style, old_make: false, joins: joins.pipe },
        // Who asks for a fifo wants the makes below to join, too.
        Style::Fifo => {
            let old_make = wish.is_none() && by_makes(every_make()) == Style::Pipe;
            Choice { style, old_make, joins: joins.fifo }
        }
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

/// A fifo where all of them are GNU make 4.4 or newer.
fn by_makes(makes: impl Iterator<Item = PathBuf>) -> Style {
    let texts = tools::version_texts(makes);
    let knows_fifos = |text: Option<Vec<u8>>| gnu_make_version(&text?).map(|version| version >= FIFO_SINCE);
    if texts.into_iter().all(|text| knows_fifos(text) == Some(true)) { Style::Fifo } else { Style::Pipe }
}
