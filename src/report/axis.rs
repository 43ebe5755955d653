//! What stands beside a picture: ticks, their names, and where a number is to stand.
//!
//! Doesn't know what is measured.

/// The middle of where it is nearly as high as ever for the longest.
pub fn middle(sums: &[f64]) -> Option<usize> {
    let most = sums.iter().copied().fold(0.0, f64::max);
    let (mut best, mut from) = (0..0, 0);
    for (at, &sum) in sums.iter().enumerate() {
        if sum < 0.8 * most {
            from = at + 1;
        } else if at + 1 - from > best.len() {
            best = from..at + 1;
        }
    }
    (most > 0.0).then_some((best.start + best.end) / 2)
}

/// At most so many characters.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// At most six whole numbers from 0 to the top.
pub fn whole_ticks(top: f64) -> Vec<(f64, String)> {
    let steps = (0..9).flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(power)));
    let step = steps.into_iter().find(|step| top / step <= 6.0).unwrap_or(top);
    (0..=6)
        .map(|tick| f64::from(tick) * step)
        .take_while(|&value| value <= top)
        .map(|value| (value, format!("{value:.0}")))
        .collect()
}

/// Seconds between two names at the axis, ten or fewer of them.
pub fn time_step(all: f64) -> f64 {
    const STEPS: [f64; 18] = [
        0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0,
        21_600.0, 86_400.0,
    ];
    STEPS.into_iter().find(|step| all / step <= 10.0).unwrap_or((all / 10.0 / 86_400.0).ceil() * 86_400.0)
}

/// A moment at the axis of time, in seconds, where ticks are so far apart.
pub fn time_name(at: f64, step: f64) -> String {
    let whole = at.round() as u64;
    match step {
        _ if step < 1.0 => format!("{at:.2} s"),
        _ if step < 60.0 && whole < 60 => format!("{whole} s"),
        _ if step < 60.0 => format!("{}:{:02}", whole / 60, whole % 60),
        _ if step < 3_600.0 => format!("{} min", whole / 60),
        _ => format!("{} h", whole / 3_600),
    }
}
