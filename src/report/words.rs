//! Figures as people say them.
//!
//! Doesn't know whose they are.

/// Seconds: `0.4 s`, `12 s`, `3 min 05 s`, `1 h 02 min`, `3 d 04 h`.
pub fn span(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 9.95 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3_600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {:02} min", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {:02} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

/// A part of something, in percent.
pub fn percent(part: f64, of: f64) -> String {
    let percent = if of > 0.0 { 100.0 * part / of } else { 0.0 };
    match percent {
        _ if percent > 0.0 && percent < 0.95 => format!("{percent:.1} %"),
        _ => format!("{percent:.0} %"),
    }
}

/// Microseconds since 1970 as `2026-11-25 10:22:16 UTC`.
pub fn date(unix_us: u64) -> String {
    let stamp = crate::proto::text::stamp(unix_us / 1_000_000);
    let part = |from: usize, to: usize| stamp.get(from..to).unwrap_or("?");
    let [year, month, day] = [part(0, 4), part(4, 6), part(6, 8)];
    format!("{year}-{month}-{day} {}:{}:{} UTC", part(9, 11), part(11, 13), part(13, 15))
}

/// A text as XML and HTML have it.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML has no place for these, whatever stands for them.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_said_shortly() {
        let rows = [
            (0.0, "0.0 s"),
            (0.44, "0.4 s"),
            (9.94, "9.9 s"),
            (9.96, "10 s"),
            (59.4, "59 s"),
            (59.6, "1 min 00 s"),
            (185.0, "3 min 05 s"),
            (3_720.0, "1 h 02 min"),
            (273_600.0, "3 d 04 h"),
        ];
        for (seconds, said) in rows {
            assert_eq!(span(seconds), said, "{seconds}");
        }
        assert_eq!([percent(0.0, 9.0), percent(0.05, 10.0), percent(1.0, 3.0)], ["0 %", "0.5 %", "33 %"]);
        assert_eq!(percent(1.0, 0.0), "0 %");
        assert_eq!(date(1_764_066_136_000_000), "2025-11-25 10:22:16 UTC");
    }

    #[test]
    fn nothing_of_a_name_is_taken_for_a_tag() {
        assert_eq!(escape("<b a='1'>&\"\x07é"), "&lt;b a=&#39;1&#39;&gt;&amp;&quot; é");
    }
}
