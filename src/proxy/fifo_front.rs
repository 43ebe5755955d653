//! The fifo style: tokens circulate among the tools; we count what is missing, top up, and withdraw.
//!
//! Doesn't see single takings. While something is out it counts ten times a second; when nobody has touched the fifo
//! for a second it sleeps until somebody does. It learns of tools that died with tokens by the *deserted* event: nobody
//! has the fifo open for reading.

use super::token;
use crate::policy::endpoint::{Endpoint, Style, Wish};
use crate::policy::time::Moment;
use crate::sys::fifo::{Fifo, Reader};
use crate::sys::folder;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

/// Between two counts.
const COUNT: Duration = Duration::from_millis(100);

/// Between two counts while others wait for what stands: whether it is wanted is to be seen soon.
const CLOSE_COUNT: Duration = Duration::from_millis(10);

/// Nothing out for so long: the counting ends until the fifo is touched.
const QUIET: Duration = Duration::from_secs(1);

/// A parked reader is let go so often, for while it is there nobody can be seen to be gone.
const PARKED: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct FifoFront {
    fifo: Fifo,
    endpoint: Endpoint,
    registry: Option<Registry>,
    /// After how long what dead tools held is written off.
    beat: Duration,
    /// A record is kept of what is done to the fifo.
    recorded: bool,
    /// The next count.
    count: Option<Moment>,
    /// Others wait for what stands.
    pressed: bool,
    /// No counts: listening for the next touch.
    asleep: bool,
    /// When something was last seen to be out.
    busy: Moment,
    /// A reader of our own, waiting for what is owed, and since when.
    parked: Option<(Reader, Moment)>,
}

impl FifoFront {
    /// A new fifo in our folder.
    pub fn open(beat: Duration) -> io::Result<FifoFront> {
        let folder = folder::own_folder()?;
        Ok(FifoFront {
            fifo: Fifo::new(&folder)?,
            endpoint: Endpoint::new(Style::Fifo),
            registry: None,
            beat,
            recorded: false,
            count: None,
            pressed: false,
            asleep: false,
            busy: Moment::default(),
            parked: None,
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.fifo.path()
    }

    pub(super) fn inherited(&self) -> Vec<BorrowedFd<'_>> {
        self.fifo.inherited().to_vec()
    }

    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        let deserted = self.fifo.deserted_event().as_raw_fd();
        registry.register(&mut SourceFd(&deserted), token::DESERTED, Interest::WRITABLE)?;
        self.registry = Some(registry.try_clone()?);
        Ok(())
    }

    pub(super) fn ready(&mut self, token: Token, now: Moment) -> io::Result<()> {
        if token == token::PARKED {
            // At once: the tool that returned it is about to take it again.
            let owed = self.endpoint.owed();
            return self.take_back(owed);
        }
        self.look()?;
        if token == token::TOUCHED {
            self.busy = now;
        } else if self.fifo.is_deserted()? || self.fifo.only_closed() {
            // Everybody was gone; also where a tool that was started at once has opened it by now.
            self.endpoint.deserted(now + self.beat);
        }
        Ok(())
    }

    pub(super) fn pass(&mut self, now: Moment) -> io::Result<()> {
        if self.parked.as_ref().is_some_and(|&(_, since)| now.since(since) >= PARKED) {
            self.unpark();
            if self.fifo.is_deserted()? {
                self.look()?;
                self.endpoint.deserted(now + self.beat);
            }
        }
        if self.endpoint.doubt().is_some_and(|due| due <= now) {
            self.look()?;
            self.endpoint.write_off(now);
        }
        if self.count.is_some_and(|when| when <= now) {
            if !std::mem::replace(&mut self.recorded, true) {
                self.fifo.keep_record();
            }
            self.look()?;
            self.fifo.only_closed();
            self.count = None;
        }
        Ok(())
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        let parked = self.parked.as_ref().map(|&(_, since)| since + PARKED);
        [self.count, self.endpoint.doubt(), parked].into_iter().flatten().min()
    }

    pub(super) fn look(&mut self) -> io::Result<()> {
        self.endpoint.saw(self.fifo.standing()?);
        Ok(())
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn endpoint_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    /// While our own reader is parked it can't be known.
    pub(super) fn is_deserted(&self) -> bool {
        self.endpoint.held() == 0 && self.fifo.is_deserted().unwrap_or(false)
    }

    pub(super) fn press(&mut self, pressed: bool) {
        self.pressed = pressed;
    }

    /// Whether or not that succeeds, the next count comes: what failed for want of a descriptor is tried again then.
    pub(super) fn settle(&mut self, now: Moment) -> io::Result<()> {
        let moved = self.move_tokens(now);
        self.schedule(now)?;
        moved
    }

    fn move_tokens(&mut self, now: Moment) -> io::Result<()> {
        match self.endpoint.wish() {
            Wish::Nothing => {}
            Wish::Offer(tokens) => self.endpoint.offered(self.fifo.offer(tokens)?),
            Wish::Withdraw(tokens) => self.withdraw(tokens, now)?,
        }
        if self.endpoint.owed() > 0 {
            self.park(now)?;
        } else {
            self.unpark();
        }
        Ok(())
    }

    fn withdraw(&mut self, tokens: u32, now: Moment) -> io::Result<()> {
        self.park(now)?;
        self.take_back(tokens)
    }

    /// Reads up to so many tokens out, where a reader is parked, and counts.
    fn take_back(&mut self, tokens: u32) -> io::Result<()> {
        let Some((reader, _)) = &self.parked else { return Ok(()) };
        let mut taken = 0;
        while taken < tokens {
            let got = reader.withdraw(tokens - taken)?;
            if got == 0 {
                break;
            }
            taken += got;
        }
        self.endpoint.saw(self.fifo.standing()? + taken);
        self.endpoint.withdrawn(taken);
        Ok(())
    }

    /// Opens the fifo for reading and waits there: a token that is owed must be had before a tool takes it again.
    fn park(&mut self, now: Moment) -> io::Result<()> {
        if self.parked.is_none() {
            let reader = self.fifo.reader()?;
            if let Some(registry) = &self.registry {
                let returned = reader.returned_event().as_raw_fd();
                registry.register(&mut SourceFd(&returned), token::PARKED, Interest::READABLE)?;
            }
            self.parked = Some((reader, now));
        }
        Ok(())
    }

    fn unpark(&mut self) {
        if let (Some((reader, _)), Some(registry)) = (self.parked.take(), &self.registry) {
            let _ = registry.deregister(&mut SourceFd(&reader.returned_event().as_raw_fd()));
        }
    }

    /// Counts while something is out; sleeps once all has been quiet for a while.
    fn schedule(&mut self, now: Moment) -> io::Result<()> {
        let is_settled = self.endpoint.wish() == Wish::Nothing;
        let is_wanted = self.pressed && self.endpoint.standing() > 0;
        if self.endpoint.held() > 0 || self.parked.is_some() || !is_settled || is_wanted {
            self.busy = now;
        }
        let quiet = now.since(self.busy) >= QUIET;
        self.sleep(quiet)?;
        if quiet && self.asleep {
            // What was taken before we were listening.
            self.look()?;
            if self.endpoint.held() > 0 {
                self.busy = now;
                self.sleep(false)?;
            }
        }
        self.count = (!self.asleep).then(|| {
            let is_wanted = self.pressed && self.endpoint.standing() > 0;
            let next = now
                + if is_wanted {
                    CLOSE_COUNT
                } else if quiet {
                    QUIET
                } else {
                    COUNT
                };
            self.count.map_or(next, |count| count.min(next))
        });
        Ok(())
    }

    /// Listens for the next touch, or not any more.
    fn sleep(&mut self, asleep: bool) -> io::Result<()> {
        let (Some(registry), Some(touched)) = (&self.registry, self.fifo.touched_event()) else {
            return Ok(());
        };
        let touched = touched.as_raw_fd();
        if asleep && !self.asleep {
            self.fifo.only_closed();
            registry.register(&mut SourceFd(&touched), token::TOUCHED, Interest::READABLE)?;
        } else if !asleep && self.asleep {
            registry.deregister(&mut SourceFd(&touched))?;
        }
        self.asleep = asleep;
        Ok(())
    }
}
