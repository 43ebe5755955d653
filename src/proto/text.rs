//! Small texts of others: versions, numbers as users write them.
//!
//! Doesn't know where they were read.

/// The version in what `make --version` prints first: `GNU Make 4.3`.
pub fn gnu_make_version(output: &[u8]) -> Option<(u32, u32)> {
    let line = output.split(|&byte| byte == b'\n').next()?;
    let text = std::str::from_utf8(line).ok()?;
    let mut numbers = text.strip_prefix("GNU Make ")?.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// What a ninja can join, read off the answer to `ninja --version`: `1.13.2`, `1.14.0.git`,
/// `1.13.2.git.kitware.jobserver-pipe-1`. Stock ninja knows a fifo since 1.13 and nothing else; Kitware's builds know a
/// pipe, and a fifo since 1.13 (tried: 1.11.1.4 and 1.13.2 of PyPI, stock 1.13.2 and head). samurai, which knows neither,
/// says the version of ninja whose language it reads: `1.9` (1.2), `1.9.0` (1.3).
pub fn ninja_joins(output: &[u8]) -> Option<NinjaJoins> {
    let text = std::str::from_utf8(output).ok()?.trim();
    let mut numbers = text.split('.');
    let version: (u32, u32) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    Some(NinjaJoins { fifo: version >= (1, 13), pipe: text.contains("kitware.jobserver") })
}

/// The styles that a ninja joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NinjaJoins {
    /// `--jobserver-auth=fifo:PATH`.
    pub fifo: bool,
    /// `--jobserver-auth=R,W`.
    pub pipe: bool,
}

/// A number as python's `float()` takes it, which reads bitbake's variables: white space around it, `1_000`, `inf`.
pub fn python_float(text: &str) -> Option<f64> {
    let text = text.trim();
    let bytes = text.as_bytes();
    let lone_underscore = bytes.iter().enumerate().any(|(at, &byte)| {
        let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
        byte == b'_' && !(digit(at.checked_sub(1)) && digit(Some(at + 1)))
    });
    if lone_underscore { None } else { text.replace('_', "").parse().ok() }
}

/// Seconds since 1970 as `20261125T102216Z`: in the order of time, and fit for a file's name.
pub fn stamp(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March, so that the leap day is the last (Hinnant's civil_from_days).
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// A text of somebody else's, fit to be shown in one line.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn make_versions() {
        let rows: [(&str, Option<(u32, u32)>); 6] = [
            ("GNU Make 4.3\nBuilt for x86_64-pc-linux-gnu\n", Some((4, 3))),
            ("GNU Make 4.4.1\n", Some((4, 4))),
            ("GNU Make 4.4.90\n", Some((4, 4))),
            ("GNU Make 10.0", Some((10, 0))),
            ("bmake 20200710\n", None),
            ("", None),
        ];
        for (output, version) in rows {
            assert_eq!(gnu_make_version(output.as_bytes()), version, "{output:?}");
        }
    }

    #[test]
    fn ninja_versions() {
        let joins = |fifo, pipe| Some(NinjaJoins { fifo, pipe });
        let rows: [(&str, Option<NinjaJoins>); 10] = [
            ("1.13.2\n", joins(true, false)),
            ("1.14.0.git\n", joins(true, false)),
            ("1.13.2.git.kitware.jobserver-pipe-1\n", joins(true, true)),
            ("1.11.1.git.kitware.jobserver-1\n", joins(false, true)),
            ("1.12.1\n", joins(false, false)),
            ("2.0\n", joins(true, false)),
            ("1.9\n", joins(false, false)),
            ("1.9.0\n", joins(false, false)),
            ("ninja\n", None),
            ("", None),
        ];
        for (output, joined) in rows {
            assert_eq!(ninja_joins(output.as_bytes()), joined, "{output:?}");
        }
    }

    #[test]
    fn numbers_as_python_reads_them() {
        assert_eq!(python_float(" 15000 "), Some(15000.0));
        assert_eq!(python_float("1e5"), Some(100_000.0));
        assert_eq!(python_float("20_000.5"), Some(20_000.5));
        assert_eq!(python_float("inf"), Some(f64::INFINITY));
        assert!(python_float("nan").is_some_and(f64::is_nan));
        for bad in ["", "x", "_1", "1_", "1__0", "15000us", "0x10"] {
            assert_eq!(python_float(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn moments_have_names() {
        let rows = [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (1_764_066_136, "20251125T102216Z"),
            (4_107_542_400, "21000301T000000Z"),
        ];
        for (seconds, name) in rows {
            assert_eq!(stamp(seconds), name);
        }
    }

    #[test]
    fn nothing_shown_speaks_to_the_terminal() {
        assert_eq!(printable("a\x1b]0;b\x07\nc\u{9b}é"), "a ]0;b  c é");
    }
}
