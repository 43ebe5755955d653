//! A line in steps, as SVG has it.
//!
//! Doesn't know what it shows.

use std::fmt::Write;

/// A path in steps: what doesn't move isn't written.
#[derive(Default)]
pub struct Path {
    /// As the attribute `d` has it.
    pub d: String,
    last: Option<(i64, i64)>,
    hangs: bool,
}

impl Path {
    /// What comes next doesn't hang together with what was.
    pub fn lift(&mut self) {
        self.hangs = false;
    }

    /// Level at `y` from one x to another, in tenths of a pixel.
    pub fn step(&mut self, from: f64, to: f64, y: f64) {
        let [from, to, y] = [from, to, y].map(|value| (value * 10.0).round() as i64);
        let tenths = |value: i64| value as f64 / 10.0;
        let _ = match self.last.filter(|_| self.hangs) {
            None => write!(self.d, "M{} {}", tenths(from), tenths(y)),
            Some((x, last)) if last != y => {
                let along = if x == from { String::new() } else { format!("H{}", tenths(from)) };
                write!(self.d, "{along}V{}", tenths(y))
            }
            Some(_) => Ok(()),
        };
        // A level stretch is drawn once it ends.
        let last_was_level = self.last.is_some_and(|(_, last)| last == y) && self.hangs;
        if last_was_level && let Some(cut) = self.d.rfind('H').filter(|&at| !self.d[at..].contains('V')) {
            self.d.truncate(cut);
        }
        let _ = write!(self.d, "H{}", tenths(to));
        (self.last, self.hangs) = (Some((to, y)), true);
    }
}
