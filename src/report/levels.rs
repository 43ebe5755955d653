//! How long a value was how high.
//!
//! Doesn't know whose it is.

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Levels(Vec<(f64, f64)>);

impl Levels {
    /// It was so high for so many seconds.
    pub fn add(&mut self, value: f64, seconds: f64) {
        match self.0.last_mut() {
            Some((last, time)) if *last == value => *time += seconds,
            Some(_) | None => self.0.push((value, seconds)),
        }
    }

    /// What it was at most in each of these parts of the time, which are told from the smallest on; `None`: there was none.
    pub fn at<const N: usize>(&self, parts: [f64; N]) -> Option<[f64; N]> {
        let mut sorted = self.0.clone();
        sorted.sort_by(|one, other| one.0.total_cmp(&other.0));
        let all: f64 = sorted.iter().map(|(_, seconds)| seconds).sum();
        let most = sorted.last()?.0;
        let mut sorted = sorted.into_iter();
        let (mut value, mut passed) = (0.0, 0.0);
        Some(parts.map(|part| {
            while passed < all * part
                && let Some((next, seconds)) = sorted.next()
            {
                (value, passed) = (next, passed + seconds);
            }
            if part >= 1.0 { most } else { value }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_not_how_often_it_was_looked() {
        let mut levels = Levels::default();
        assert_eq!(levels.at([0.5]), None);
        for (value, seconds) in [(9.0, 1.0), (1.0, 5.0), (1.0, 1.0), (2.0, 2.0), (30.0, 1.0)] {
            levels.add(value, seconds);
        }
        assert_eq!(levels.at([0.5, 0.8, 0.9, 0.99, 1.0]), Some([1.0, 2.0, 9.0, 30.0, 30.0]));
    }
}
