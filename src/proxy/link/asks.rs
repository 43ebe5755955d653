//! What a link asks of the gate beside tokens: how things stand, its journal, and what keeps builds from running more jobs.
//!
//! Doesn't know what is made of the answers.

use super::Link;
use crate::policy::summary::Brake;
use crate::proto::journal::Record;
use crate::proto::view::View;
use crate::proto::wire::Request;
use std::io;

impl Link {
    /// The answer to `ask`, if it has come.
    pub fn view(&mut self) -> Option<Box<View>> {
        self.view.take()
    }

    /// Asks how things stand.
    pub fn ask(&mut self) -> io::Result<()> {
        self.asks = true;
        self.say(&Request::Status)
    }

    /// Whether the gate can tell its journal.
    pub fn tells_journals(&self) -> bool {
        self.tale.can_be_had
    }

    /// Asks for the gate's journal from here on.
    pub fn ask_journal(&mut self) -> io::Result<()> {
        self.tale.is_wanted = true;
        self.say(&Request::Journal)
    }

    /// What the gate has told of it since it was last looked at, and how many records had no place here.
    pub fn records(&mut self) -> (Vec<Record>, u64) {
        self.tale.take()
    }

    /// Asks to be told what keeps builds from running more jobs.
    pub fn ask_brake(&mut self) -> io::Result<()> {
        self.tale.brake_is_wanted = true;
        self.say(&Request::Brake)
    }

    /// What that is, as far as was told.
    pub fn brake(&self) -> Option<Brake> {
        self.tale.brake
    }

    pub(super) fn ask_again(&self, link: &mut Link) -> io::Result<()> {
        if self.tale.is_wanted {
            link.ask_journal()?;
        }
        if self.tale.brake_is_wanted { link.ask_brake() } else { Ok(()) }
    }
}
