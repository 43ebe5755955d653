//! What stands on the screen, at several sizes.
//!
//! Knows no terminal.

use super::*;
use crate::policy::time::Moment;
use crate::proto::view::{ClientView, GateView, LawView, PressureView, ReasonView};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::time::Duration;

fn view(clients: u64) -> View {
    let client = |id: u64| ClientView {
        id,
        pid: 4000 + id as i32,
        uid: 1000,
        label: format!("make number {id}\x1b[31m"),
        style: "pipe".to_owned(),
        lease: 1,
        held: (id % 3) as u32,
        allotment: 2,
        wants: id > 1,
        age_s: 70.0,
        weight: 1,
        ..ClientView::default()
    };
    let mut view = View {
        limit: 6,
        jobs: 8,
        in_use: 5,
        law: LawView { kind: "adaptive".to_owned(), tightest: "cpu".to_owned(), ..LawView::default() },
        gate: GateView {
            state: "held".to_owned(),
            hold: "all".to_owned(),
            reasons: vec![ReasonView { resource: "io".to_owned(), rate: 400_000.0, max: 300_000.0 }],
        },
        clients: (1..=clients).map(client).collect(),
        ..View::default()
    };
    view.pressure.insert("io".to_owned(), PressureView { rate: Some(400_000.0), max: Some(300_000.0) });
    view
}

fn history(view: &View) -> History {
    let mut history = History::default();
    for second in 0..200 {
        let view = View { in_use: second % 7, ..view.clone() };
        history.add(Moment::at(Duration::from_secs(second.into())), &view);
    }
    history
}

/// The lines of a screen of that size, and whether any cell has a colour.
fn shown(screen: &mut Screen, size: (u16, u16), view: &View) -> (Vec<String>, bool) {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    terminal.draw(|frame| screen.draw(frame, view, &history(view))).unwrap();
    let buffer = terminal.backend().buffer();
    let cells: Vec<_> = buffer.content().iter().collect();
    let line = |cells: &[&ratatui::buffer::Cell]| cells.iter().map(|cell| cell.symbol()).collect::<String>();
    let lines = cells.chunks(usize::from(size.0)).map(|cells| line(cells).trim_end().to_owned()).collect();
    (lines, cells.iter().any(|cell| cell.fg != Color::Reset))
}

#[test]
fn all_is_said_at_any_size() {
    for size in [(120, 40), (80, 24), (60, 20), (60, 12), (40, 8)] {
        let (lines, has_colour) = shown(&mut Screen::new(false), size, &view(3));
        let text = lines.join("\n");
        assert!(has_colour);
        assert!(lines[0].starts_with("limit 6 of 8: cpu is the tightest"), "{text}");
        let gate = "out 5, gate held: io 400000 > 300000";
        assert!(lines[1].starts_with(gate), "{text}");
        assert!(lines[2].contains("io 40 of 30 %"), "{text}");
        assert!(
            text.contains("PID")
                && text.contains("4002")
                && text.contains(if size.0 < 60 { "make n" } else { "make number 2 [31m" }),
            "{text}"
        );
        assert!(!text.contains('\x1b') && text.contains("q quit"), "{text}");
        assert_eq!(text.contains("jobs out 5 (line), limit 6 (dots)"), size.1 > 12, "{text}");
        assert_eq!(text.contains("pressure: cpu (line) io (dots)"), size.1 > 12, "{text}");
        assert_eq!(text.contains("-5 min"), size.1 > 12, "200 seconds are known: {text}");
        assert_eq!(text.contains("USER"), size.0 >= 80, "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= usize::from(size.0)));
    }
    let (lines, has_colour) = shown(&mut Screen::new(true), (80, 24), &view(3));
    assert!(!has_colour && lines[1].starts_with("out 5, gate held"), "{lines:?}");
    let (lines, _) = shown(&mut Screen::new(false), (30, 5), &view(3));
    assert_eq!(lines[0], "too small");
}

#[test]
fn those_who_have_the_most_come_first_and_all_can_be_seen() {
    let mut screen = Screen::new(false);
    let pids = |lines: &[String]| {
        let pid = |line: &String| line.split_ascii_whitespace().next()?.parse::<u32>().ok();
        lines.iter().filter_map(pid).filter(|&pid| pid > 4000).collect::<Vec<_>>()
    };
    let (lines, _) = shown(&mut screen, (80, 24), &view(50));
    let first = pids(&lines);
    assert!(first.len() > 5 && first.iter().all(|pid| (pid - 4000) % 3 == 2), "{lines:?}");
    screen.scroll(1000);
    let (lines, _) = shown(&mut screen, (80, 24), &view(50));
    assert_eq!(pids(&lines).last(), Some(&4048), "{lines:?}");
    screen.scroll(i32::MIN);
    let (lines, _) = shown(&mut screen, (80, 24), &view(50));
    assert_eq!(pids(&lines), first);
    let (lines, _) = shown(&mut screen, (80, 24), &view(0));
    assert!(lines.join("\n").contains("nobody is here"));
}

#[test]
fn a_gate_that_is_gone_and_keys_are_told_at_the_foot() {
    let mut screen = Screen::new(false);
    let foot = |screen: &mut Screen| shown(screen, (80, 24), &view(1)).0.pop().unwrap();
    assert_eq!(foot(&mut screen), SHORT_HELP);
    screen.helps = true;
    assert_eq!(foot(&mut screen), HELP);
    screen.is_gone = true;
    assert!(foot(&mut screen).starts_with("the gate is gone; looking for it"));
}
