//! One tree's endpoint as figures: what was offered, what stands, what is held, and so what to do next.
//!
//! Doesn't know pipes, fifos or descriptors: it is told what was seen and says what it wishes. Offered tokens are
//! *issued* until they come back; `held = issued - standing`.

use super::time::Moment;
use std::collections::VecDeque;

/// By what a tree takes and returns tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Two pipes, `--jobserver-auth=R,W`. At most one token stands; every return is seen before it is offered again.
    Pipe,
    /// One fifo, `--jobserver-auth=fifo:PATH`. All that the tree may hold stands there; tokens circulate.
    Fifo,
}

/// What should be done to what stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Nothing.
    Nothing,
    /// Put so many tokens more where the tree can take them.
    Offer(u32),
    /// Take so many untaken tokens back.
    Withdraw(u32),
}

/// What shouldn't happen and does, counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddities {
    /// Tokens written off because their holder was gone.
    pub lost: u64,
    /// Tokens returned without having been taken; absorbed.
    pub surplus: u64,
}

/// The figures of one endpoint. All are tokens.
#[derive(Debug)]
pub struct Endpoint {
    style: Style,
    allotment: u32,
    issued: u32,
    standing: u32,
    oddities: Oddities,
    /// Held when nobody had the endpoint open, and when that is to be written off.
    doubts: VecDeque<(Moment, u32)>,
}

impl Endpoint {
    /// An endpoint in which nothing stands yet.
    pub fn new(style: Style) -> Endpoint {
        Endpoint {
            style,
            allotment: 0,
            issued: 0,
            standing: 0,
            oddities: Oddities::default(),
            doubts: VecDeque::new(),
        }
    }

    /// The tree may hold so many.
    pub fn allot(&mut self, allotment: u32) {
        self.allotment = allotment;
    }

    /// What the tree holds.
    pub fn held(&self) -> u32 {
        self.issued.saturating_sub(self.standing)
    }

    /// What the tree holds above its allotment.
    pub fn owed(&self) -> u32 {
        self.held().saturating_sub(self.allotment)
    }

    /// What stands, as last seen.
    pub fn standing(&self) -> u32 {
        self.standing
    }

    /// What went wrong so far.
    pub fn oddities(&self) -> Oddities {
        self.oddities
    }

    /// So many tokens stand now.
    pub fn saw(&mut self, standing: u32) {
        self.standing = standing;
    }

    /// So many bytes came back apart from what stands (a pipe's W). What was never taken raises nothing: old rustc
    /// returns a token before it ever took one.
    pub fn returned(&mut self, tokens: u32) {
        let owned = tokens.min(self.held());
        self.issued -= owned;
        self.oddities.surplus += u64::from(tokens - owned);
    }

    /// What should be done now.
    pub fn wish(&self) -> Wish {
        let room = self.allotment.saturating_sub(self.held());
        let goal = match self.style {
            Style::Pipe => room.min(1),
            Style::Fifo => room,
        };
        if self.standing < goal {
            Wish::Offer(goal - self.standing)
        } else if self.standing > goal {
            Wish::Withdraw(self.standing - goal)
        } else {
            Wish::Nothing
        }
    }

    /// So many were put there.
    pub fn offered(&mut self, tokens: u32) {
        self.issued += tokens;
        self.standing += tokens;
    }

    /// So many untaken ones were taken back; what stood beyond all that was issued goes first, and counts nothing.
    pub fn withdrawn(&mut self, tokens: u32) {
        let minted = tokens.min(self.standing.saturating_sub(self.issued));
        self.oddities.surplus += u64::from(minted);
        self.issued -= (tokens - minted).min(self.issued);
        self.standing = self.standing.saturating_sub(tokens);
    }

    /// Nobody had the endpoint open (fifo): what is held was lost with its holders, and is written off at `due`, also
    /// when somebody has opened it again by then. What was in doubt before keeps its own time.
    pub fn deserted(&mut self, due: Moment) {
        let held = self.held();
        let mut known = 0;
        self.doubts.retain_mut(|(_, tokens)| {
            *tokens = (*tokens).min(held - known);
            known += *tokens;
            *tokens > 0
        });
        if held > known {
            self.doubts.push_back((due, held - known));
        }
    }

    /// When something is to be written off.
    pub fn doubt(&self) -> Option<Moment> {
        self.doubts.front().map(|&(due, _)| due)
    }

    /// Writes off what is due: not more than is still missing.
    pub fn write_off(&mut self, now: Moment) {
        while let Some(&(due, tokens)) = self.doubts.front() {
            if now < due {
                break;
            }
            self.doubts.pop_front();
            let lost = tokens.min(self.held());
            self.issued -= lost;
            self.oddities.lost += u64::from(lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(ms: u64) -> Moment {
        Moment::at(Duration::from_millis(ms))
    }

    /// Does what it wishes, as a perfect front end would.
    fn settle(endpoint: &mut Endpoint) {
        match endpoint.wish() {
            Wish::Nothing => {}
            Wish::Offer(tokens) => endpoint.offered(tokens),
            Wish::Withdraw(tokens) => endpoint.withdrawn(tokens),
        }
    }

    fn fifo(allotment: u32) -> Endpoint {
        let mut endpoint = Endpoint::new(Style::Fifo);
        endpoint.allot(allotment);
        settle(&mut endpoint);
        endpoint
    }

    #[test]
    fn a_pipe_offers_one_at_a_time_up_to_the_allotment() {
        let mut pipe = Endpoint::new(Style::Pipe);
        pipe.allot(2);
        for held in [0, 1] {
            assert_eq!((pipe.held(), pipe.wish()), (held, Wish::Offer(1)));
            pipe.offered(1);
            pipe.saw(0);
        }
        assert_eq!((pipe.held(), pipe.wish()), (2, Wish::Nothing));
        pipe.returned(1);
        assert_eq!(pipe.wish(), Wish::Offer(1));
        pipe.allot(1);
        assert_eq!((pipe.held(), pipe.owed(), pipe.wish()), (1, 0, Wish::Nothing));
    }

    #[test]
    fn a_pipe_absorbs_what_was_never_taken() {
        let mut pipe = Endpoint::new(Style::Pipe);
        pipe.allot(3);
        pipe.returned(5);
        assert_eq!((pipe.held(), pipe.oddities().surplus, pipe.wish()), (0, 5, Wish::Offer(1)));
        settle(&mut pipe);
        pipe.returned(1);
        pipe.saw(0);
        assert_eq!((pipe.held(), pipe.oddities().surplus), (1, 6), "what stood is held now, surplus or not");
    }

    #[test]
    fn a_fifo_holds_all_and_gives_back_what_is_owed() {
        let mut fifo = fifo(7);
        assert_eq!(fifo.standing(), 7);
        fifo.saw(2);
        assert_eq!((fifo.held(), fifo.wish()), (5, Wish::Nothing));
        fifo.allot(3);
        assert_eq!((fifo.owed(), fifo.wish()), (2, Wish::Withdraw(2)));
        fifo.withdrawn(2);
        fifo.saw(1);
        assert_eq!((fifo.held(), fifo.owed(), fifo.wish()), (4, 1, Wish::Withdraw(1)));
        fifo.withdrawn(1);
        assert_eq!((fifo.held(), fifo.owed(), fifo.wish()), (4, 1, Wish::Nothing));
        fifo.saw(1);
        assert_eq!((fifo.held(), fifo.wish()), (3, Wish::Withdraw(1)));
    }

    #[test]
    fn a_fifo_takes_out_what_was_minted() {
        let mut fifo = fifo(3);
        fifo.saw(5);
        assert_eq!((fifo.held(), fifo.wish()), (0, Wish::Withdraw(2)));
        fifo.withdrawn(2);
        assert_eq!((fifo.standing(), fifo.oddities().surplus, fifo.wish()), (3, 2, Wish::Nothing));
    }

    #[test]
    fn what_dead_holders_had_comes_back_a_beat_later() {
        let mut fifo = fifo(4);
        fifo.saw(1);
        fifo.deserted(at(1000));
        fifo.write_off(at(999));
        assert_eq!((fifo.held(), fifo.doubt()), (3, Some(at(1000))));
        fifo.saw(0); // another tool took the one that stood
        fifo.write_off(at(1000));
        assert_eq!((fifo.held(), fifo.oddities().lost, fifo.wish()), (1, 3, Wish::Offer(3)));
        assert_eq!(fifo.doubt(), None);
    }

    #[test]
    fn what_came_back_meanwhile_is_not_written_off() {
        let mut fifo = fifo(4);
        fifo.saw(1);
        fifo.deserted(at(1000));
        fifo.saw(3);
        fifo.write_off(at(1000));
        assert_eq!((fifo.held(), fifo.oddities().lost, fifo.wish()), (0, 1, Wish::Offer(1)));
    }

    #[test]
    fn a_second_desertion_doubts_only_what_is_new() {
        let mut fifo = fifo(4);
        fifo.saw(3);
        fifo.deserted(at(1000));
        fifo.saw(1);
        fifo.deserted(at(1500));
        fifo.write_off(at(1000));
        assert_eq!((fifo.held(), fifo.oddities().lost), (2, 1));
        fifo.saw(2);
        fifo.deserted(at(1700));
        assert_eq!(fifo.doubt(), Some(at(1500)));
        fifo.write_off(at(1500));
        assert_eq!((fifo.held(), fifo.oddities().lost, fifo.doubt()), (0, 2, None));
    }
}
