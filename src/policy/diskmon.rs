//! The disk space monitor: what follows from how much is free in a directory, and when it is said again.
//!
//! Doesn't know paths, the kernel's figures or the beat. The rules are bitbake's (`lib/bb/monitordisk.py`), but for one: what
//! STOPTASKS has stopped goes on once there is enough again.

/// What is done where too little is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is said.
    Warn,
    /// Nothing new is started.
    StopTasks,
    /// The build is ended.
    Halt,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes.
    Space,
    /// Inodes.
    Inodes,
}

/// A figure of each kind; `None`: not known, or not asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Bytes.
    pub space: Option<u64>,
    /// Inodes.
    pub inodes: Option<u64>,
}

impl Amounts {
    fn of(&mut self, kind: Kind) -> &mut Option<u64> {
        match kind {
            Kind::Space => &mut self.space,
            Kind::Inodes => &mut self.inodes,
        }
    }
}

/// After how large a decrease a warning is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// Bytes.
    pub space: u64,
    /// Inodes.
    pub inodes: u64,
}

impl Default for Intervals {
    /// bitbake's: `50M,5K`.
    fn default() -> Intervals {
        Intervals { space: 50 << 20, inodes: 5 << 10 }
    }
}

/// What is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// So much is left, which is too little.
    Low(Kind, u64),
    /// From here on nothing new is started.
    Stop,
    /// The build is ended.
    Halt,
}

/// What a build may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// All.
    Open,
    /// Start nothing new.
    Closed,
    /// Nothing, for good.
    Halted,
}

/// One entry: an action, and what must be left lest it is taken.
#[derive(Debug)]
pub struct Watch {
    action: Action,
    least: Amounts,
    /// What was left when it was last said.
    said: Amounts,
    state: State,
}

impl Watch {
    /// `least`: less than that is too little.
    pub fn new(action: Action, least: Amounts) -> Watch {
        Watch { action, least, said: Amounts::default(), state: State::Open }
    }

    /// Feed: so much is free. What is to be said now.
    pub fn look(&mut self, mut free: Amounts, intervals: Intervals) -> Vec<Word> {
        let mut words = Vec::new();
        let mut is_low = false;
        for (kind, interval) in [(Kind::Space, intervals.space), (Kind::Inodes, intervals.inodes)] {
            let (Some(left), Some(least)) = (*free.of(kind), *self.least.of(kind)) else { continue };
            if left >= least {
                continue;
            }
            is_low = true;
            let acts = self.state != State::Open;
            let said = self.said.of(kind);
            if said.is_none_or(|said| said.saturating_sub(left) > interval && !acts) {
                *said = Some(left);
                words.push(Word::Low(kind, left));
            }
            words.extend(self.act());
        }
        if !is_low && self.state == State::Closed {
            (self.state, self.said) = (State::Open, Amounts::default());
        }
        words
    }

    /// Takes the action, where it isn't taken already.
    fn act(&mut self) -> Option<Word> {
        if self.state != State::Open {
            return None;
        }
        let (state, word) = match self.action {
            Action::Warn => return None,
            Action::StopTasks => (State::Closed, Word::Stop),
            Action::Halt => (State::Halted, Word::Halt),
        };
        self.state = state;
        Some(word)
    }

    /// What the build may do, as far as this entry goes.
    pub fn state(&self) -> State {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: u64 = 1 << 20;
    const SMALL: Intervals = Intervals { space: 10, inodes: 5 };

    fn amounts(space: impl Into<Option<u64>>, inodes: impl Into<Option<u64>>) -> Amounts {
        Amounts { space: space.into(), inodes: inodes.into() }
    }

    /// What is said at each step of bytes left, the least being 100.
    fn told(action: Action, steps: &[u64]) -> (Vec<Vec<Word>>, State) {
        let mut watch = Watch::new(action, amounts(100, None));
        let words = steps.iter().map(|&left| watch.look(amounts(left, 0), SMALL)).collect();
        (words, watch.state())
    }

    fn low(left: u64) -> Word {
        Word::Low(Kind::Space, left)
    }

    #[test]
    fn as_much_as_must_be_left_is_enough() {
        for action in [Action::Warn, Action::StopTasks, Action::Halt] {
            assert_eq!(told(action, &[101, 100, u64::MAX]), (vec![vec![]; 3], State::Open));
        }
        assert_eq!(told(Action::Warn, &[99]).0, [[low(99)]]);
    }

    #[test]
    fn a_warning_is_repeated_after_a_decrease_greater_than_the_interval() {
        let (words, state) = told(Action::Warn, &[99, 99, 90, 89, 88, 120, 95, 78, 78]);
        let expected = [vec![low(99)], vec![], vec![], vec![], vec![low(88)], vec![], vec![], vec![], vec![]];
        assert_eq!((words, state), (expected.to_vec(), State::Open));
        // Nothing left is a figure, too, and said once.
        assert_eq!(told(Action::Warn, &[5, 0, 0]).0, [vec![low(5)], vec![], vec![]]);
        assert_eq!(told(Action::Warn, &[0, 0]).0, [vec![low(0)], vec![]]);
    }

    #[test]
    fn what_was_stopped_goes_on_when_there_is_enough_again() {
        let (words, state) = told(Action::StopTasks, &[200, 50, 40, 10]);
        let stop = vec![low(50), Word::Stop];
        assert_eq!((words, state), (vec![vec![], stop.clone(), vec![], vec![]], State::Closed));
        let (words, state) = told(Action::StopTasks, &[50, 100, 50]);
        assert_eq!((words, state), (vec![stop.clone(), vec![], stop], State::Closed));
        assert_eq!(told(Action::StopTasks, &[50, 100]).1, State::Open);
    }

    #[test]
    fn a_halt_is_said_once_and_stays() {
        let (words, state) = told(Action::Halt, &[50, 10, 200, 50]);
        assert_eq!((words, state), (vec![vec![low(50), Word::Halt], vec![], vec![], vec![]], State::Halted));
    }

    #[test]
    fn inodes_count_like_space_and_what_is_not_known_counts_nothing() {
        let inodes = |left| Word::Low(Kind::Inodes, left);
        let mut watch = Watch::new(Action::StopTasks, amounts(100, 50));
        assert_eq!(watch.look(amounts(None, None), SMALL), []);
        assert_eq!(watch.look(amounts(100, None), SMALL), []);
        assert_eq!(watch.look(amounts(100, 49), SMALL), [inodes(49), Word::Stop]);
        assert_eq!(watch.look(amounts(99, 40), SMALL), [low(99)], "said of each kind, stopped once");
        assert_eq!(watch.look(amounts(99, 60), SMALL), []);
        assert_eq!(watch.state(), State::Closed, "one kind is enough to stay closed");
        assert_eq!(watch.look(amounts(None, 60), SMALL), []);
        assert_eq!(watch.state(), State::Open, "what can't be seen any more holds nothing");
        let mut watch = Watch::new(Action::Warn, amounts(None, 50));
        assert_eq!(watch.look(amounts(0, 49), SMALL), [inodes(49)]);
        assert_eq!(watch.look(amounts(0, 44), SMALL), []);
        assert_eq!(watch.look(amounts(0, 43), SMALL), [inodes(43)]);
    }

    #[test]
    fn bitbakes_intervals_are_the_default() {
        assert_eq!(Intervals::default(), Intervals { space: 50 * M, inodes: 5120 });
    }

    #[test]
    fn the_strictest_state_counts() {
        assert!(State::Open < State::Closed && State::Closed < State::Halted);
    }
}
