//! A shared gate that is gone, and is looked for: at short intervals while it may be about to come back, later seldom.
//!
//! Doesn't know what becomes of the tokens that were had from it meanwhile.

use super::link::{Link, NoLink};
use super::token;
use crate::policy::time::Moment;
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// A server that is started anew is back within this, on a loaded machine too; until then nobody else is asked for tokens.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks for it until then: it hears all its clients within its first 250 ms.
pub const SOON: Duration = Duration::from_millis(50);

/// The second look comes sooner: a server that dies may have let us in with its last breath.
const AT_ONCE: Duration = Duration::from_millis(2);

/// ... and from then on.
const SELDOM: Duration = Duration::from_secs(10);

/// How long the answer to a hello may take until another is said.
const ANSWER: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Lost {
    /// What was known of it.
    link: Box<Link>,
    why: String,
    since: Moment,
    next: Moment,
    /// Until the look after that.
    pause: Duration,
    given_up: bool,
    knocking: Option<Box<Link>>,
}

/// What has become of it.
#[derive(Debug)]
pub enum News {
    /// It is back.
    Back(Box<Link>),
    /// Nothing yet.
    None,
    /// It will hardly come back: why not.
    GivenUp(String),
}

impl Lost {
    /// It is looked for from now on.
    pub fn new(link: Box<Link>, why: String, now: Moment) -> Lost {
        link.hang_up();
        Lost { link, why, since: now, next: now, pause: AT_ONCE, given_up: false, knocking: None }
    }

    /// The link as it was, to be kept up to date.
    pub fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// When `look` is due by time alone.
    pub fn deadline(&self) -> Moment {
        if self.given_up { self.next } else { self.next.min(self.since + PATIENCE) }
    }

    /// Looks for it, if it is time to, and hears what it has said. What is had from it: `in_force` tokens may be held, `held`
    /// are.
    pub fn look(&mut self, now: Moment, in_force: u32, held: u32, registry: Option<&Registry>) -> News {
        if self.next <= now {
            self.knocking = None;
            self.look_again(now);
            match self.link.renew(now, in_force, held).and_then(|link| watch(link, registry)) {
                Ok(link) => {
                    self.knocking = Some(link);
                    self.next = now + ANSWER;
                }
                Err(NoLink::Absent(why) | NoLink::Refused(why)) => self.why = why,
            }
        }
        match self.hear() {
            Ok(true) => return self.knocking.take().map_or(News::None, News::Back),
            Ok(false) => {}
            Err(why) => {
                self.why = why;
                self.knocking = None;
                self.look_again(now);
            }
        }
        if !self.given_up && now.since(self.since) >= PATIENCE {
            self.given_up = true;
            self.next = now + SELDOM;
            return News::GivenUp(self.why.clone());
        }
        News::None
    }

    fn look_again(&mut self, now: Moment) {
        self.next = now + if self.given_up { SELDOM } else { self.pause };
        self.pause = (self.pause * 2).min(SOON);
    }

    /// Whether it has bidden us welcome.
    fn hear(&mut self) -> Result<bool, String> {
        let Some(link) = &mut self.knocking else { return Ok(false) };
        let heard = link.ready();
        match (link.greeting(), heard) {
            (Some(Ok(())), Ok(())) => Ok(true),
            (Some(Err(NoLink::Absent(why) | NoLink::Refused(why))), _) => Err(why),
            (None, Ok(())) => Ok(false),
            (_, Err(error)) => Err(error.to_string()),
        }
    }
}

/// The answer is an event of the loop's.
fn watch(link: Link, registry: Option<&Registry>) -> Result<Box<Link>, NoLink> {
    if let Some(registry) = registry {
        let both = Interest::READABLE | Interest::WRITABLE;
        let watched = registry.register(&mut SourceFd(&link.event().as_raw_fd()), token::GATE, both);
        watched.map_err(|error: io::Error| NoLink::Absent(error.to_string()))?;
    }
    Ok(Box::new(link))
}
