//! The last minutes of a gate, as far as they were looked at.
//!
//! Doesn't know how they are drawn. The moment is an argument.

use crate::policy::pressure::Resource;
use crate::policy::time::Moment;
use crate::proto::view::View;
use std::collections::VecDeque;
use std::time::Duration;

/// So long is remembered.
pub const LONG: Duration = Duration::from_secs(300);

/// What was seen at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub when: Moment,
    pub limit: u32,
    pub out: u32,
    /// Of the time that some work waited, in percent, by resource.
    pub pressure: [Option<f64>; 3],
}

/// See the module.
#[derive(Debug, Default)]
pub struct History(VecDeque<Point>);

impl History {
    /// So it stands now.
    pub fn add(&mut self, now: Moment, view: &View) {
        let rate = |of: Resource| view.pressure.get(of.name()).and_then(|pressure| pressure.rate);
        let pressure = Resource::ALL.map(|of| rate(of).map(|rate| rate / 1e4));
        self.0.push_back(Point { when: now, limit: view.limit, out: view.in_use, pressure });
        while self.0.front().is_some_and(|first| now.since(first.when) > LONG) {
            self.0.pop_front();
        }
    }

    /// Points of a value: seconds before the last look, 0 or less, and what it was then.
    pub fn of(&self, value: impl Fn(&Point) -> Option<f64>) -> Vec<(f64, f64)> {
        let Some(last) = self.0.back() else { return Vec::new() };
        let at = |point: &Point| Some((-last.when.since(point.when).as_secs_f64(), value(point)?));
        self.0.iter().filter_map(at).collect()
    }

    /// The most jobs, of the limit and of those out.
    pub fn most_jobs(&self) -> u32 {
        self.0.iter().map(|point| point.limit.max(point.out)).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::view::PressureView;

    #[test]
    fn five_minutes_are_remembered() {
        let mut history = History::default();
        assert_eq!((history.of(|_| Some(0.0)), history.most_jobs()), (Vec::new(), 0));
        for second in 0..1000_u32 {
            let mut view = View { limit: 4, in_use: second % 4, ..View::default() };
            view.pressure.insert("io".to_owned(), PressureView { rate: Some(250_000.0), max: None });
            history.add(Moment::at(Duration::from_secs(second.into())), &view);
        }
        let out = history.of(|point| Some(f64::from(point.out)));
        assert_eq!((out.len(), out[0], out[300], history.most_jobs()), (301, (-300.0, 3.0), (0.0, 3.0), 4));
        assert_eq!(history.of(|point| point.pressure[1])[0].1, 25.0);
        assert_eq!(history.of(|point| point.pressure[0]), []);
    }
}
