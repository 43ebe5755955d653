//! How hungry a tree is, as its proxy sees it: whether it takes all it is allotted, or leaves some standing.
//!
//! Doesn't know what follows from it, nor how it is told.

use super::time::Moment;
use std::time::Duration;

/// While some is left standing, how much is used is told so often at the most.
const SETTLED: Duration = Duration::from_millis(100);

/// News.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// All that is allotted is held: by a taking, or still, a patience after the gate has said something new.
    Full,
    /// Some was left standing for the whole patience; the most that was held meanwhile.
    Slack(u32),
}

/// See the module. Fed with what is held, it says each thing once.
#[derive(Debug)]
pub struct Appetite {
    patience: Duration,
    allotment: u32,
    held: u32,
    told: Option<Word>,
    /// A taking has just filled it up, and that isn't told.
    filled: bool,
    /// Since when something has been standing, and the most that was held since.
    slack: Option<(Moment, u32)>,
    /// Since when all that is allotted is held.
    brim: Option<Moment>,
    /// Since when nobody is there who could take any.
    deserted: Option<Moment>,
}

impl Appetite {
    /// Nothing is known yet. `patience`: how long an offer may stand before it is known not to be wanted.
    pub fn new(patience: Duration, _now: Moment) -> Appetite {
        Appetite {
            patience,
            allotment: 0,
            held: 0,
            told: None,
            filled: false,
            slack: None,
            brim: None,
            deserted: None,
        }
    }

    /// How long an offer may stand.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// The gate has said something new, and knows nothing of what was told before: what still holds is told again.
    pub fn ask(&mut self) {
        self.told = None;
    }

    /// Whether nobody is there who could take any. Where that has been so for the whole patience, an offer needn't stand
    /// as long again.
    pub fn deserted(&mut self, now: Moment, deserted: bool) {
        self.deserted = deserted.then(|| self.deserted.unwrap_or(now));
    }

    /// The allotment in force and what is held.
    pub fn saw(&mut self, now: Moment, allotment: u32, held: u32) {
        let took = held > self.held;
        let raised = allotment > self.allotment;
        (self.allotment, self.held) = (allotment, held);
        if raised {
            // A new offer: whether it is wanted is to be seen.
            self.told = None;
            self.slack = None;
        }
        if held >= allotment {
            self.slack = None;
            self.brim = self.brim.or(Some(now)).filter(|_| allotment > 0);
            // Lowered onto what is held, nothing was taken.
            self.filled |= took && allotment > 0 && self.told != Some(Word::Full);
            return;
        }
        self.brim = None;
        let (since, peak) = self.slack.unwrap_or((now, held));
        self.slack = Some((since, peak.max(held)));
    }

    /// The news, if there is any.
    pub fn poll(&mut self, now: Moment) -> Option<Word> {
        if std::mem::take(&mut self.filled) {
            self.told = Some(Word::Full);
            return self.told;
        }
        if self.deadline().is_none_or(|due| now < due) {
            return None;
        }
        self.told = match self.slack {
            // Where takings are seen now and then only, one who takes at once what comes back seems to hold still.
            None => Some(Word::Full),
            Some((_, peak)) => Some(Word::Slack(peak)),
        };
        self.slack = self.slack.map(|_| (now, self.held));
        self.told
    }

    /// When there will be news by time alone.
    pub fn deadline(&self) -> Option<Moment> {
        let Some((since, peak)) = self.slack else {
            return self.brim.filter(|_| self.told.is_none()).map(|since| since + self.patience);
        };
        match self.told {
            Some(Word::Slack(used)) if used == peak && peak == self.held => None,
            Some(Word::Slack(_)) => Some(since + SETTLED.max(self.patience)),
            Some(Word::Full) | None => {
                let waited = self.deserted.unwrap_or(since).min(since) + self.patience;
                Some(waited.max(since))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PATIENCE: Duration = Duration::from_millis(20);

    fn at(ms: u64) -> Moment {
        Moment::at(Duration::from_millis(ms))
    }

    /// Feeds (ms, allotment, held) and gives all that was said.
    fn words(rows: &[(u64, u32, u32)]) -> Vec<Word> {
        let mut appetite = Appetite::new(PATIENCE, at(0));
        let mut said = Vec::new();
        for &(ms, allotment, held) in rows {
            appetite.saw(at(ms), allotment, held);
            said.extend(appetite.poll(at(ms)));
        }
        said
    }

    #[test]
    fn full_is_told_at_once_and_slack_after_the_patience() {
        assert_eq!(words(&[(0, 2, 0), (1, 2, 1), (2, 2, 2), (3, 2, 2)]), [Word::Full]);
        assert_eq!(words(&[(0, 2, 0), (19, 2, 1), (20, 2, 0)]), [Word::Slack(1)]);
        assert_eq!(words(&[(0, 0, 0), (500, 0, 0)]), []);
    }

    #[test]
    fn churn_at_the_brim_says_nothing_more() {
        let rows: Vec<_> = (0..500).map(|ms| (ms, 3, 3 - (ms % 2) as u32)).collect();
        assert_eq!(words(&rows), [Word::Full]);
    }

    #[test]
    fn lowered_onto_what_is_held_is_not_full() {
        assert_eq!(
            words(&[(0, 5, 2), (20, 5, 2), (30, 2, 2), (31, 2, 1), (32, 2, 2)]),
            [Word::Slack(2), Word::Full]
        );
        assert_eq!(words(&[(0, 5, 2), (20, 5, 2), (30, 2, 2), (90, 2, 2)]), [Word::Slack(2)]);
    }

    #[test]
    fn a_raise_is_a_new_question() {
        assert_eq!(
            words(&[(0, 1, 0), (20, 1, 0), (30, 2, 0), (49, 2, 0), (50, 2, 0)]),
            [Word::Slack(0), Word::Slack(0)]
        );
        assert_eq!(words(&[(0, 1, 1), (5, 2, 1), (6, 2, 2)]), [Word::Full, Word::Full]);
    }

    #[test]
    fn who_is_asked_again_answers_at_once_what_it_knows() {
        let mut appetite = Appetite::new(PATIENCE, at(0));
        appetite.saw(at(0), 5, 2);
        assert_eq!(appetite.poll(at(20)), Some(Word::Slack(2)));
        appetite.saw(at(1000), 3, 2);
        assert_eq!(appetite.poll(at(1000)), None, "no news, and nobody asks");
        appetite.ask();
        assert_eq!((appetite.poll(at(1000)), appetite.poll(at(2000))), (Some(Word::Slack(2)), None));
    }

    #[test]
    fn who_is_asked_and_stays_at_the_brim_is_full() {
        let mut appetite = Appetite::new(PATIENCE, at(0));
        appetite.saw(at(0), 6, 4);
        assert_eq!(appetite.poll(at(20)), Some(Word::Slack(4)));
        appetite.ask();
        appetite.saw(at(100), 1, 4);
        appetite.saw(at(110), 1, 1);
        assert_eq!((appetite.poll(at(110)), appetite.deadline()), (None, Some(at(120))));
        assert_eq!((appetite.poll(at(120)), appetite.deadline()), (Some(Word::Full), None));
    }

    #[test]
    fn an_offer_to_nobody_is_answered_at_once() {
        let mut appetite = Appetite::new(PATIENCE, at(0));
        appetite.deserted(at(0), true);
        appetite.saw(at(0), 1, 0);
        assert_eq!(appetite.deadline(), Some(at(20)), "somebody may be about to come");
        assert_eq!(appetite.poll(at(20)), Some(Word::Slack(0)));
        appetite.deserted(at(500), true);
        appetite.saw(at(500), 2, 0);
        assert_eq!(appetite.poll(at(500)), Some(Word::Slack(0)));
        appetite.deserted(at(900), false);
        appetite.saw(at(900), 3, 0);
        assert_eq!(appetite.deadline(), Some(at(920)));
    }

    #[test]
    fn use_below_the_brim_is_told_now_and_then() {
        let rows: Vec<_> = (0..1000).map(|ms| (ms, 9, 3 + (ms / 10 % 2) as u32)).collect();
        let said = words(&rows);
        assert!(said.len() <= 11 && said.iter().all(|word| *word == Word::Slack(4)), "{said:?}");
        assert_eq!(
            words(&[(0, 9, 3), (20, 9, 3), (40, 9, 7), (140, 9, 7)]),
            [Word::Slack(3), Word::Slack(7)]
        );
    }

    proptest! {
        #[test]
        fn in_the_end_what_was_told_is_so(steps in prop::collection::vec((0u64..60, 0u32..5, 0u32..6), 1..60)) {
            let mut appetite = Appetite::new(PATIENCE, at(0));
            let (mut now, mut last) = (0, None);
            for (pass, allotment, held) in steps {
                now += pass;
                appetite.saw(at(now), allotment, held);
                last = appetite.poll(at(now)).or(last);
            }
            let mut polls = 0;
            while let Some(due) = appetite.deadline() {
                appetite.saw(due, appetite.allotment, appetite.held);
                last = appetite.poll(due).or(last);
                polls += 1;
                prop_assert!(polls < 5, "it comes to rest");
            }
            if appetite.held < appetite.allotment {
                prop_assert_eq!(last, Some(Word::Slack(appetite.held)));
            }
        }
    }
}
