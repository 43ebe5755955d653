//! The jobserver that we were started below: ours, somebody else's, or none.
//!
//! Doesn't know what is started next, only whether it could join what is there.

use super::settings::StyleWish;
use super::style::Choice;
use crate::policy::endpoint::Style;
use crate::proto::argv::Tool;
use crate::proto::makeflags::{self, Auth, Inherited};
use crate::sys::foreign::Foreign;
use std::ffi::OsString;

/// The endpoint that jobgate has told this tree of, as `name` writes it: another one in MAKEFLAGS is somebody else's.
pub const AUTH: &str = "JOBGATE_AUTH";

/// Not empty: that endpoint's gate is shared with nobody, or goes through a foreign jobserver: its tree can only be a
/// client of the endpoint.
pub const PRIVATE: &str = "JOBGATE_PRIVATE";

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

/// See the module.
pub struct Around {
    inherited: Option<Inherited>,
    is_ours: bool,
    is_private: bool,
}

impl Around {
    /// What the environment says, where what it says is there.
    pub fn look() -> Around {
        let named = std::env::var_os("MAKEFLAGS").and_then(|flags| makeflags::inherited(&flags));
        let inherited = named.filter(|inherited| Foreign::open(inherited).is_ok());
        let is_ours = inherited.as_ref().is_some_and(|inherited| {
            let name = match inherited {
                Inherited::Pipe { read, write } => format!("{read},{write}").into(),
                Inherited::Fifo(path) => named_fifo(path.as_os_str()),
            };
            std::env::var_os(AUTH) == Some(name)
        });
        let is_private = is_ours && std::env::var_os(PRIVATE).is_some_and(|value| !value.is_empty());
        Around { inherited, is_ours, is_private }
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

    /// As its client.
    pub fn open_foreign(&self) -> Option<Foreign> {
        self.inherited
            .as_ref()
            .filter(|_| self.is_foreign())
            .and_then(|inherited| Foreign::open(inherited).ok())
    }

    /// It is ours, and the tool can join it as it is.
    pub fn suits(&self, tool: Tool, choice: Choice, wish: StyleWish) -> bool {
        let style = match &self.inherited {
            Some(Inherited::Pipe { .. }) if self.is_ours => Style::Pipe,
            Some(Inherited::Fifo(_)) if self.is_ours => Style::Fifo,
            Some(_) | None => return false,
        };
        let knows = match (tool, style) {
            // A make that knows a fifo knows a pipe; what else is started may be anything, and runs as it would.
            (Tool::Make, Style::Pipe) | (Tool::Other | Tool::Cargo, _) => true,
            (Tool::Make, Style::Fifo) | (Tool::Ninja, _) => choice.style == style && choice.joins,
        };
        knows && wish == StyleWish::Auto
    }
}
