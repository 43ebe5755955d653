//! What `top` shows: the limit and the gate in words, the last minutes as two charts, and the clients.
//!
//! Doesn't know when it is drawn. Nothing is told by colour alone.

use super::history::{History, LONG};
use crate::cli::table::{Row, cut};
use crate::policy::pressure::Resource;
use crate::proto::status;
use crate::proto::text::printable;
use crate::proto::view::View;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Borders, Chart, Dataset, GraphType, Paragraph};

/// Where there is less room than this nothing can be read.
const LEAST: (u16, u16) = (40, 8);

/// What a chart may be of, in seconds.
const SPANS: [(f64, &str); 4] =
    [(30.0, "-30 s"), (60.0, "-1 min"), (120.0, "-2 min"), (LONG.as_secs() as f64, "-5 min")];

/// A chart isn't lower than this.
const LEAST_CHART: u16 = 6;

const HELP: &str = "q quit   up/down, page up/down: more clients   Ctrl-L draw anew   ? less";
const SHORT_HELP: &str = "q quit   ? help";

/// See the module.
#[derive(Debug, Default)]
pub struct Screen {
    is_plain: bool,
    /// Lines of clients that are above what is shown.
    above: usize,
    /// Keys are explained.
    pub helps: bool,
    /// The gate is gone.
    pub is_gone: bool,
    /// A key was pressed since it was drawn.
    pub is_new: bool,
}

impl Screen {
    /// `is_plain`: without colour.
    pub fn new(is_plain: bool) -> Screen {
        Screen { is_plain, ..Screen::default() }
    }

    /// So many clients further down.
    pub fn scroll(&mut self, lines: i32) {
        self.above = self.above.saturating_add_signed(lines as isize);
    }

    /// Draws it all.
    pub fn draw(&mut self, frame: &mut Frame, view: &View, history: &History) {
        let area = frame.area();
        if area.width < LEAST.0 || area.height < LEAST.1 {
            return frame.render_widget(Paragraph::new("too small"), area);
        }
        let words = self.words(view, area.width as usize);
        let clients = view.clients.len() as u16;
        let room = area.height.saturating_sub(words.len() as u16 + 1);
        let charts = chart_room(room, area.width, clients);
        let rows = [
            Constraint::Length(words.len() as u16),
            Constraint::Length(charts.0),
            Constraint::Length(charts.1),
            Constraint::Min(0),
            Constraint::Length(1),
        ];
        let [top, first, second, table, foot] = Layout::vertical(rows).areas(area);
        frame.render_widget(Paragraph::new(words), top);
        if charts.0 > 0 && charts.1 == 0 && area.width >= 100 {
            let [left, right] =
                Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(2).areas(first);
            self.jobs(frame, left, view, history);
            self.pressure(frame, right, view, history);
        } else {
            self.jobs(frame, first, view, history);
            self.pressure(frame, second, view, history);
        }
        self.clients(frame, table, view);
        self.foot(frame, foot);
    }

    fn colour(&self, colour: Color) -> Style {
        if self.is_plain { Style::default() } else { Style::default().fg(colour) }
    }

    /// The limit, the gate, and the pressure.
    fn words(&self, view: &View, width: usize) -> Vec<Line<'static>> {
        let limit = status::limit(view);
        let gate = format!("out {}, gate {}", view.in_use, status::gate(view));
        let is_held = view.gate.state != "open";
        let style =
            if is_held { self.colour(Color::Red).add_modifier(Modifier::BOLD) } else { Style::default() };
        let pressure = Resource::ALL.map(|of| {
            let pressure = view.pressure.get(of.name()).copied().unwrap_or_default();
            let rate = pressure.rate.map_or("–".to_owned(), |rate| format!("{:.0}", rate / 1e4));
            let max = pressure.max.map_or(String::new(), |max| format!(" of {:.0}", max / 1e4));
            format!("{} {rate}{max} %", of.name())
        });
        let lines = [(limit, Style::default().add_modifier(Modifier::BOLD)), (gate, style)];
        let pressure = (format!("pressure {}", pressure.join(", ")), Style::default());
        let text = |(text, style): (String, Style)| Line::styled(cut(&printable(&text), width), style);
        lines.into_iter().chain([pressure]).map(text).collect()
    }

    fn jobs(&self, frame: &mut Frame, area: Rect, view: &View, history: &History) {
        let most = f64::from(history.most_jobs().max(1));
        let limit = history.of(|point| Some(f64::from(point.limit)));
        let out = history.of(|point| Some(f64::from(point.out)));
        let limit =
            Set { name: "limit", points: limit, marker: Marker::Dot, style: self.colour(Color::Yellow) };
        let out = Set { name: "out", points: out, marker: Marker::Braille, style: self.colour(Color::Green) };
        let title = format!("jobs out {} (line), limit {} (dots)", view.in_use, view.limit);
        chart(frame, area, &title, most, [format!("{:.0}", most / 2.0), format!("{most:.0}")], &[limit, out]);
    }

    fn pressure(&self, frame: &mut Frame, area: Rect, view: &View, history: &History) {
        let marks = [
            ("line", Marker::Braille, Color::Cyan),
            ("dots", Marker::Dot, Color::Magenta),
            ("blocks", Marker::HalfBlock, Color::Red),
        ];
        let mut sets = Vec::new();
        let mut names = Vec::new();
        for (of, (mark, marker, colour)) in Resource::ALL.into_iter().zip(marks) {
            let points = history.of(|point| point.pressure[of as usize]);
            names.push(format!("{} ({mark})", of.name()));
            sets.push(Set { name: of.name(), points, marker, style: self.colour(colour) });
        }
        let most = sets.iter().flat_map(|set| &set.points).map(|point| point.1).fold(10.0, f64::max);
        let known = view.pressure.values().any(|pressure| pressure.rate.is_some());
        let title = match known {
            true => format!("pressure: {}", names.join(" ")),
            false => "pressure: nothing is known".to_owned(),
        };
        chart(frame, area, &title, most, [format!("{:.0}%", most / 2.0), format!("{most:.0}%")], &sets);
    }

    fn clients(&mut self, frame: &mut Frame, area: Rect, view: &View) {
        if area.height < 2 {
            return;
        }
        let mut clients: Vec<_> = view.clients.iter().collect();
        clients.sort_by_key(|client| std::cmp::Reverse(client.lease + client.held));
        let rows = usize::from(area.height) - 1;
        self.above = self.above.min(clients.len().saturating_sub(rows));
        let width = usize::from(area.width);
        let head = Line::styled(Row::head(width), Style::default().add_modifier(Modifier::REVERSED));
        let shown = clients.iter().skip(self.above).take(rows).map(|client| Row::new(client).text(width));
        let mut lines = vec![head];
        lines.extend(shown.map(|row| Line::from(cut(&printable(&row), width))));
        if clients.is_empty() {
            lines.push(Line::from("nobody is here"));
        }
        frame.render_widget(Paragraph::new(lines), area);
    }

    fn foot(&self, frame: &mut Frame, area: Rect) {
        let text = match (self.is_gone, self.helps) {
            (true, _) => Span::styled(
                "the gate is gone; looking for it   q quit",
                self.colour(Color::Red).add_modifier(Modifier::BOLD),
            ),
            (false, true) => Span::raw(HELP),
            (false, false) => Span::raw(SHORT_HELP),
        };
        frame.render_widget(Paragraph::new(Line::from(text)), area);
    }
}

/// How high the charts are: side by side in the first, or one above the other; the clients come first.
fn chart_room(room: u16, width: u16, clients: u16) -> (u16, u16) {
    let left = room.saturating_sub((clients + 1).clamp(3, (room / 2).max(3)));
    match left {
        _ if left < LEAST_CHART => (0, 0),
        _ if width >= 100 => (left.min(16), 0),
        _ if left < 2 * LEAST_CHART => (left, 0),
        _ => ((left / 2).min(12), (left / 2).min(12)),
    }
}

struct Set {
    name: &'static str,
    points: Vec<(f64, f64)>,
    marker: Marker,
    style: Style,
}

fn chart(frame: &mut Frame, area: Rect, title: &str, most: f64, names: [String; 2], sets: &[Set]) {
    if area.height < LEAST_CHART {
        return;
    }
    let datasets = sets.iter().map(|set| {
        let dataset = Dataset::default().name(set.name).data(&set.points).style(set.style).marker(set.marker);
        dataset.graph_type(if set.marker == Marker::Braille { GraphType::Line } else { GraphType::Scatter })
    });
    // What isn't known yet needs no room.
    let known = sets.iter().filter_map(|set| set.points.first()).map(|point| -point.0).fold(0.0, f64::max);
    let (long, name) = *SPANS.iter().find(|span| known <= span.0).unwrap_or(&SPANS[SPANS.len() - 1]);
    let x = Axis::default().bounds([-long, 0.0]).labels([name, "now"]);
    let [half, whole] = names;
    let y = Axis::default().bounds([0.0, most * 1.05]).labels(["0".to_owned(), half, whole]);
    let block = Block::default().borders(Borders::TOP).title(cut(title, area.width as usize));
    let chart = Chart::new(datasets.collect()).block(block).x_axis(x).y_axis(y).legend_position(None);
    frame.render_widget(chart, area);
}

#[cfg(test)]
mod tests;
