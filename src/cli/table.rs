//! How a gate stands, as a table for people that fits 80 columns.
//!
//! Doesn't know where it is shown.

use crate::proto::status;
use crate::proto::text::printable;
use crate::proto::view::{ClientView, View};
use std::fmt::Write;

/// So wide is a terminal at least.
const COLUMNS: usize = 80;

/// The whole text.
pub fn draw(view: &View) -> String {
    let mut text = String::new();
    let from = view
        .settings
        .get("jobs")
        .map_or(String::new(), |jobs| format!("   (jobs {}: {})", jobs.value, jobs.from));
    let limit = status::limit(view);
    // What explains it has a line of its own.
    let between = if limit.contains(':') { "\n" } else { ", " };
    let _ = writeln!(text, "{limit}{between}in use {}{from}", view.in_use);
    let mut gate = status::gate(view);
    if view.growing_back {
        gate.push_str(", growing back after a hold");
    }
    let _ = writeln!(text, "gate {gate}");
    let beat = &view.heartbeat;
    let _ = writeln!(
        text,
        "beat {} of {} s ({} missed), up {}, pid {}, {}",
        beat.beats,
        beat.interval_s,
        beat.missed,
        span(view.uptime_s),
        view.pid,
        view.socket
    );
    let said = view.settings.iter().filter(|(key, setting)| *key != "jobs" && setting.from != "default");
    for (key, setting) in said {
        let _ = writeln!(text, "{key} {}   ({})", setting.value, setting.from);
    }
    if view.clients.is_empty() {
        text.push_str("\nnobody is here\n");
    } else {
        let _ = writeln!(text, "\n{}", Row::head(COLUMNS).trim_end());
        for client in &view.clients {
            let _ = writeln!(text, "{}", Row::new(client).text(COLUMNS));
        }
    }
    text.lines().map(|line| cut(&printable(line), COLUMNS) + "\n").collect()
}

/// A client's figures, and what there is to be said of it.
pub struct Row {
    /// Its proxy's process, user, and style.
    who: String,
    /// How many jobs it has, may have and wants, and its age.
    figures: String,
    label: String,
    notes: String,
    pid: String,
}

impl Row {
    /// Of that one.
    pub fn new(client: &ClientView) -> Row {
        let lease = if client.borrowed { client.lease + 1 } else { client.lease };
        let has = lease + client.held;
        let may = lease + client.allotment;
        let wants = match client.waits_s {
            Some(waits) => format!("lease {}", span(waits)),
            None if client.stopped => "stopped".to_owned(),
            None if client.wants => "more".to_owned(),
            None => "-".to_owned(),
        };
        Row {
            who: format!("{:<5} {:<5} ", client.uid, client.style),
            figures: format!("{has:>4} {may:>3} {wants:<8} {:>5}  ", span(client.age_s)),
            label: client.label.clone(),
            notes: notes(client),
            pid: format!("{:>7} ", client.pid),
        }
    }

    /// What stands above such rows. Where there are fewer than 80 columns users and styles are left out.
    pub fn head(width: usize) -> String {
        let who = if width < 80 { "" } else { "USER  STYLE " };
        format!("{:<width$}", format!("    PID {who} HAS MAY WANTS      AGE  WHAT"))
    }

    /// In so many columns.
    pub fn text(&self, width: usize) -> String {
        let who = if width < 80 { "" } else { self.who.as_str() };
        let figures = format!("{}{who}{}", self.pid, self.figures);
        let room = width.saturating_sub(figures.chars().count() + self.notes.chars().count()).max(8);
        format!("{figures}{}{}", cut(&self.label, room), self.notes)
    }
}

fn notes(client: &ClientView) -> String {
    let mut notes = Vec::new();
    if client.borrowed {
        notes.push("in a paid job".to_owned());
    }
    if client.owed > 0 {
        notes.push(format!("{} owed", client.owed));
    }
    if client.lost > 0 {
        notes.push(format!("{} lost?", client.lost));
    }
    if client.overdue {
        notes.push("overdue".to_owned());
    }
    if let Some(cap) = client.cap.filter(|&cap| cap < crate::proto::values::MOST_JOBS) {
        notes.push(format!("cap {cap}"));
    }
    if client.weight > 1 {
        notes.push(format!("weight {}", client.weight));
    }
    if notes.is_empty() { String::new() } else { format!("  ({})", notes.join(", ")) }
}

/// `7s`, `12m`, `5h`, `3d`.
fn span(seconds: f64) -> String {
    let steps = [(86_400.0, "d"), (3_600.0, "h"), (60.0, "m")];
    // Two digits at least, so that a minute and a half isn't one.
    let step = steps.iter().find(|(unit, _)| seconds >= unit * 2.0);
    step.map_or(format!("{seconds:.0}s"), |(unit, name)| format!("{:.0}{name}", (seconds / unit).floor()))
}

/// At most so many columns.
pub fn cut(line: &str, columns: usize) -> String {
    let is_short = line.chars().count() <= columns;
    if is_short { line.to_owned() } else { line.chars().take(columns - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::view::{BeatView, GateView, ReasonView, SettingView};

    #[test]
    fn a_table_fits_80_columns() {
        let client = |id, label: &str| ClientView {
            id,
            pid: 4_194_304,
            uid: 1000,
            label: label.to_owned(),
            style: "fifo".to_owned(),
            lease: 1,
            allotment: 4,
            held: 2,
            age_s: 90.0,
            weight: 1,
            ..ClientView::default()
        };
        let waiting = ClientView {
            lease: 0,
            allotment: 0,
            held: 0,
            waits_s: Some(7.0),
            wants: true,
            ..client(2, "make")
        };
        let long = ClientView { owed: 2, wants: true, ..client(3, &"x".repeat(90)) };
        let view = View {
            jobs: 8,
            limit: 3,
            in_use: 5,
            pid: 77,
            uptime_s: 7200.0,
            socket: "/run/jobgate/socket".to_owned(),
            gate: GateView {
                state: "held".to_owned(),
                hold: "all".to_owned(),
                reasons: vec![ReasonView { resource: "cpu".to_owned(), rate: 2e5, max: 1e5 }],
            },
            heartbeat: BeatView { interval_s: 1.0, beats: 9, missed: 0 },
            settings: [
                ("jobs".to_owned(), SettingView { value: "8".into(), from: "make (pid 7)".into() }),
                ("max-cpu".to_owned(), SettingView { value: "100000".into(), from: "jobgate set".into() }),
                ("hold".to_owned(), SettingView { value: "all".into(), from: "default".into() }),
            ]
            .into(),
            clients: vec![client(1, "make -j8"), waiting, long],
            ..View::default()
        };
        let table = draw(&view);
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
        let want = "\
limit 3 of 8, in use 5   (jobs 8: make (pid 7))
gate held: cpu 200000 > 100000 us/s
beat 9 of 1 s (0 missed), up 2h, pid 77, /run/jobgate/socket
max-cpu 100000   (jobgate set)

    PID USER  STYLE  HAS MAY WANTS      AGE  WHAT
4194304 1000  fifo     3   5 -          90s  make -j8
4194304 1000  fifo     0   0 lease 7s   90s  make
4194304 1000  fifo     3   5 more       90s  xxxxxxxxxxxxxxxxxxxxxxxx…  (2 owed)
";
        assert_eq!(table, want);
    }

    #[test]
    fn nothing_in_it_speaks_to_the_terminal() {
        let client = ClientView {
            label: "make\x1b[2J".to_owned(),
            style: "\u{9b}2J".to_owned(),
            ..ClientView::default()
        };
        let view = View { clients: vec![client], socket: "/a\x07".to_owned(), ..View::default() };
        let table = draw(&view);
        assert!(table.chars().all(|c| c == '\n' || !c.is_control()), "{table:?}");
    }
}
