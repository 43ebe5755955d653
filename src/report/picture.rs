//! The picture of a story as SVG: who ran how many jobs, the limit, the held spans, and the pressure against its thresholds.
//!
//! Doesn't know where it is put. Nothing is told by colour alone: areas are numbered, what is held is hatched, lines differ in
//! kind.

use super::axis::{cut, middle, time_name, time_step, whole_ticks};
use super::grid::{Cell, Line};
use super::path::Path;
use super::story::{Story, Told};
use super::words::{date, escape, span};
use crate::policy::pressure::Resource;
use std::fmt::Write;

/// All widths and heights are pixels of a picture that is 1000 wide.
pub const WIDTH: f64 = 1000.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const PLOT: f64 = WIDTH - LEFT - RIGHT;
const JOBS: f64 = 260.0;
const STRIP: f64 = 64.0;
const GAP: f64 = 34.0;

/// So many clients have an area of their own.
const OWN_AREAS: usize = 8;

/// Okabe and Ito's colours, which the colour-blind tell apart; in this order neighbours differ in lightness, too.
const COLOURS: [&str; OWN_AREAS] =
    ["#0072b2", "#f0e442", "#009e73", "#e69f00", "#56b4e9", "#d55e00", "#cc79a7", "#999933"];
const OTHERS: &str = "#bbbbbb";

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#222}.t{font-size:17px;font-weight:600}.s{fill:#555}.n{font-weight:600;text-anchor:middle;\
paint-order:stroke;stroke:#fff;stroke-width:3px}.e{text-anchor:end}.m{text-anchor:middle}.ax{stroke:#999;stroke-width:1;fill:none}\
.g{stroke:#ddd;stroke-width:1}.lim{stroke:#000;stroke-width:2;fill:none}.max{stroke:#c00;stroke-width:1.5;stroke-dasharray:6 3;fill:none}\
.p{fill:#9ab;stroke:none}.pm{stroke:#345;stroke-width:1;fill:none}.held{fill:url(#hatch);stroke:none}.hot{fill:#fff;fill-opacity:0}.gap{stroke:#c00;stroke-width:1;\
stroke-dasharray:2 2}.miss{stroke:#c00;stroke-width:2}.a{stroke:#fff;stroke-width:.5}";

/// Who has an area, the largest first; and the rest.
pub struct Areas<'a> {
    /// Which of the story's clients, and its colour.
    pub own: Vec<(usize, &'a Told, &'static str)>,
    /// All others.
    pub others: Vec<&'a Told>,
}

/// Who has one of these.
pub fn areas(story: &Story) -> Areas<'_> {
    let mut order: Vec<(usize, &Told)> = story.clients.iter().enumerate().collect();
    order.sort_by(|one, other| other.1.token_s.total_cmp(&one.1.token_s));
    let others = order.split_off(order.len().min(OWN_AREAS));
    let own = order.iter().zip(COLOURS).map(|(&(number, told), colour)| (number, told, colour)).collect();
    Areas { own, others: others.into_iter().map(|(_, told)| told).collect() }
}

/// The picture, as a whole file or a part of a page; as high as it needs. `table`: what else there is to be said of each client
/// stands below it.
pub fn draw(story: &Story, table: bool) -> String {
    let mut picture = Picture::new(story);
    picture.head();
    picture.jobs();
    for resource in Resource::ALL {
        picture.strip(resource);
    }
    picture.time();
    if table {
        picture.table();
    }
    picture.end()
}

/// The name of a client in a table and a legend.
pub fn name(number: usize, told: &Told) -> String {
    if told.pid > 0 {
        format!("{} {} (pid {})", number + 1, told.label, told.pid)
    } else {
        format!("{} {}", number + 1, told.label)
    }
}

struct Picture<'a> {
    story: &'a Story,
    svg: String,
    /// Down to where it is drawn.
    y: f64,
}

impl<'a> Picture<'a> {
    fn new(story: &'a Story) -> Picture<'a> {
        Picture { story, svg: String::new(), y: 0.0 }
    }

    fn put(&mut self, text: std::fmt::Arguments) {
        let _ = self.svg.write_fmt(text); // a String takes all
    }

    fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let text = escape(text);
        self.put(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{text}</text>\n"));
    }

    fn x(&self, at: u64) -> f64 {
        LEFT + PLOT * at as f64 / (self.story.until.max(1) as f64)
    }

    fn column_x(&self, column: usize) -> f64 {
        let at = (column as u64).saturating_mul(self.story.grid.width());
        self.x(at.min(self.story.until))
    }

    fn head(&mut self) {
        let story = self.story;
        let what = match story.clients.as_slice() {
            [only] => only.label.clone(),
            _ if story.header.socket.is_empty() => format!("{} clients", story.clients.len()),
            all => format!("{} clients of the gate at {}", all.len(), story.header.socket),
        };
        self.text(LEFT, 24.0, "t", &cut(&what, 100));
        let header = &story.header;
        let settings = &story.scene.settings;
        let line = format!(
            "{}, {}; {} cpus, Linux {}; {} law, -j {}; {} of {} beats missed",
            date(header.unix_us),
            span(story.seconds()),
            header.cpus,
            header.kernel,
            settings.law,
            settings.jobs,
            story.missed,
            story.beats + story.missed,
        );
        self.text(LEFT, 44.0, "s", &line);
        self.text(LEFT, 66.0, "", &story.verdict());
        self.y = 96.0;
    }

    /// A panel's frame: its heading, lines at `ticks` values, each with its name.
    fn frame(&mut self, height: f64, heading: &str, top: f64, ticks: &[(f64, String)]) {
        let y = self.y;
        self.text(LEFT, y - 6.0, "s", heading);
        for (value, name) in ticks {
            let at = y + height * (1.0 - value / top);
            self.put(format_args!("<path class=\"g\" d=\"M{LEFT} {at:.1}h{PLOT}\"/>\n"));
            self.text(LEFT - 6.0, at + 4.0, "e", name);
        }
    }

    fn close_frame(&mut self, height: f64) {
        let y = self.y;
        self.put(format_args!("<path class=\"ax\" d=\"M{LEFT} {y:.1}v{height}h{PLOT}\"/>\n"));
        for (at, what) in self.story.gaps.iter().take(100) {
            let (x, what) = (self.x(*at), escape(what));
            self.put(format_args!(
                "<path class=\"gap\" d=\"M{x:.1} {y:.1}v{height}\"><title>{what}</title></path>\n"
            ));
        }
        self.y += height + GAP;
    }

    /// Hatched from above: as much of the height as it was held of the time. `named`: with the reasons of what is long enough.
    fn held(&mut self, height: f64, named: bool) {
        let (story, y) = (self.story, self.y);
        let (columns, width) = (story.hold.columns(), story.grid.width() as f64);
        if columns.is_empty() {
            return;
        }
        let mut path = Path::default();
        for column in columns.clone() {
            let part = story.hold.at(column).area / width;
            path.step(self.column_x(column), self.column_x(column + 1), y + height * part);
        }
        let (from, d) = (self.column_x(columns.start), path.d);
        self.put(format_args!("<path class=\"held\" d=\"{d}V{y:.1}H{from:.1}z\"/>\n"));
        for held in story.held.iter().filter(|_| named) {
            let (from, until) = (self.x(held.from), self.x(held.until));
            let (wide, why) = ((until - from).max(1.0), escape(&held.why));
            let long = span((held.until - held.from) as f64 / 1e6);
            self.put(format_args!(
                "<rect class=\"hot\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{height}\"><title>held for {long}: {why}</title></rect>\n"
            ));
            if wide > 150.0 {
                let name = cut(&format!("held: {}", held.why), (wide / 7.0) as usize);
                self.text((from + until) / 2.0, y + 14.0, "n", &name);
            }
        }
    }

    /// Who ran how many jobs, and the limit.
    fn jobs(&mut self) {
        let story = self.story;
        let peak = f64::from(story.peak.max(1)).max(story.running.most());
        // A limit that is never come near would only make the rest small.
        let top = if story.limit.most() <= 2.5 * peak { story.limit.most().max(peak) } else { peak * 1.4 };
        let top = (top * 1.05).max(1.2);
        let limit = match story.limit.most() {
            most if most > top => {
                format!("jobs by client; the limit (up to {most:.0}) is above the picture at times")
            }
            _ => "jobs by client, and the limit (thick line); hatched: the gate is held".to_owned(),
        };
        let y = self.y;
        self.frame(JOBS, &limit, top, &whole_ticks(top));
        self.put(format_args!("<clipPath id=\"c\"><rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{PLOT}\" height=\"{JOBS}\"/></clipPath>\n"));
        let areas = areas(story);
        let mut below = vec![0.0; story.columns()];
        let mut numbers = Vec::new();
        for (number, told, colour) in &areas.own {
            let place = self.area(&mut below, &[told], colour, &name(*number, told), top);
            numbers.extend(place.map(|place| (number + 1, place)));
        }
        if !areas.others.is_empty() {
            let label = format!("{} others", areas.others.len());
            self.area(&mut below, &areas.others, OTHERS, &label, top);
        }
        self.held(JOBS, true);
        let steps = self.steps(&story.limit, JOBS, top, |cell| cell.mean());
        self.put(format_args!("<path class=\"lim\" clip-path=\"url(#c)\" d=\"{steps}\"/>\n"));
        for (number, (x, y)) in numbers {
            self.text(x.clamp(LEFT + 8.0, WIDTH - RIGHT - 8.0), y + 4.0, "n", &number.to_string());
        }
        for (at, missed) in story.misses.iter().take(1000) {
            let (x, y) = (self.x(*at), self.y + JOBS);
            self.put(format_args!(
                "<path class=\"miss\" d=\"M{x:.1} {y:.1}v6\"><title>{missed} beats missed</title></path>\n"
            ));
        }
        self.close_frame(JOBS);
    }

    /// Who is put on top of those below; where its number is to stand.
    fn area(
        &mut self,
        below: &mut [f64],
        of: &[&Told],
        colour: &str,
        label: &str,
        top: f64,
    ) -> Option<(f64, f64)> {
        let width = self.story.grid.width() as f64;
        let columns = || of.iter().map(|told| told.line.columns()).filter(|columns| !columns.is_empty());
        let first = columns().map(|columns| columns.start).min().unwrap_or(0);
        let last = columns().map(|columns| columns.end).max().unwrap_or(0).min(below.len());
        if first >= last {
            return None;
        }
        let mut sums = vec![0.0; last - first];
        for told in of {
            let columns = told.line.columns();
            for column in columns.start.max(first)..columns.end.min(last) {
                sums[column - first] += told.line.at(column).area / width;
            }
        }
        let height = |value: f64| self.y + JOBS * (1.0 - value / top);
        let x: Vec<f64> = (first..=last).map(|column| self.column_x(column)).collect();
        let mut path = Path::default();
        for (at, sum) in sums.iter().enumerate() {
            path.step(x[at], x[at + 1], height(below[first + at] + sum));
        }
        for at in (0..sums.len()).rev() {
            path.step(x[at + 1], x[at], height(below[first + at]));
        }
        let place = middle(&sums).map(|at| (x[at], height(below[first + at] + sums[at] / 2.0), sums[at]));
        for (at, sum) in sums.iter().enumerate() {
            below[first + at] += sum;
        }
        let (d, label) = (path.d, escape(label));
        self.put(format_args!("<path class=\"a\" clip-path=\"url(#c)\" fill=\"{colour}\" d=\"{d}z\"><title>{label}</title></path>\n"));
        // What is too low has no number.
        place.filter(|&(_, _, sum)| JOBS * sum / top > 12.0).map(|(x, y, _)| (x, y))
    }

    /// A line in steps; it is broken where nothing is known.
    fn steps(&self, line: &Line, height: f64, top: f64, value: impl Fn(Cell) -> Option<f64>) -> String {
        let mut path = Path::default();
        let mut is_broken = true;
        for column in line.columns() {
            let Some(value) = value(line.at(column)) else {
                is_broken = true;
                continue;
            };
            if std::mem::take(&mut is_broken) {
                path.lift();
            }
            let y = self.y + height * (1.0 - value / top);
            path.step(self.column_x(column), self.column_x(column + 1), y);
        }
        path.d
    }

    /// The pressure of one resource, against its threshold.
    fn strip(&mut self, resource: Resource) {
        let story = self.story;
        let (line, max) = (&story.pressure[resource as usize], &story.thresholds[resource as usize]);
        let known = line.columns().any(|column| line.at(column).time > 0.0);
        let top = line.most().max(max.most().min(1e6)).max(10_000.0) * 1.05;
        let threshold = if max.most() > 0.0 { "; dashed: the threshold" } else { "" };
        let heading = match known {
            true => format!("{} pressure, % of the time that some work waited{threshold}", resource.name()),
            false => format!("{} pressure: not known{threshold}", resource.name()),
        };
        let ticks = [0.0, top / 2.1, top / 1.05].map(|value| (value, format!("{:.0} %", value / 1e4)));
        let ticks = if top < 52_500.0 {
            ticks.map(|(value, _)| (value, format!("{:.1} %", value / 1e4)))
        } else {
            ticks
        };
        self.frame(STRIP, &heading, top, &ticks);
        let y = self.y;
        let mut area = Path::default();
        for column in line.columns() {
            let value = line.at(column).mean().unwrap_or(0.0);
            area.step(self.column_x(column), self.column_x(column + 1), y + STRIP * (1.0 - value / top));
        }
        if known {
            let from = self.column_x(line.columns().start);
            let (bottom, d) = (y + STRIP, area.d);
            self.put(format_args!("<path class=\"p\" d=\"{d}V{bottom:.1}H{from:.1}z\"/>\n"));
            let most = self.steps(line, STRIP, top, |cell| (cell.time > 0.0).then_some(cell.most));
            self.put(format_args!("<path class=\"pm\" d=\"{most}\"/>\n"));
        }
        self.held(STRIP, false);
        let steps = self.steps(max, STRIP, top, |cell| cell.mean().map(|max| max.min(top)));
        if !steps.is_empty() {
            self.put(format_args!("<path class=\"max\" d=\"{steps}\"/>\n"));
        }
        self.close_frame(STRIP);
    }

    /// The axis of time, below all.
    fn time(&mut self) {
        let y = self.y - GAP;
        let all = self.story.seconds().max(1e-3);
        let step = time_step(all);
        let mut at = 0.0;
        while at <= all * 1.0001 {
            let x = LEFT + PLOT * at / all;
            self.put(format_args!("<path class=\"ax\" d=\"M{x:.1} {y:.1}v5\"/>\n"));
            self.text(
                x,
                y + 18.0,
                if at + step > all && x > WIDTH - 60.0 { "e" } else { "m" },
                &time_name(at, step),
            );
            at += step;
        }
        self.y = y + 40.0;
    }

    /// What a page says in a table, for who has the picture alone.
    fn table(&mut self) {
        const MOST: usize = 60;
        let story = self.story;
        let columns = [
            (LEFT, "client"),
            (640.0, "token seconds"),
            (760.0, "waited"),
            (850.0, "most jobs"),
            (WIDTH - RIGHT, "there for"),
        ];
        for (x, head) in columns {
            self.text(x, self.y, if x > LEFT { "e s" } else { "s" }, head);
        }
        let areas = areas(story);
        let colour = |number: usize| areas.own.iter().find(|own| own.0 == number).map_or(OTHERS, |own| own.2);
        for (number, told) in story.clients.iter().enumerate().take(MOST) {
            self.y += 18.0;
            let (y, colour) = (self.y, colour(number));
            self.put(format_args!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\n",
                LEFT - 18.0,
                y - 10.0
            ));
            self.text(LEFT, y, "", &cut(&name(number, told), 70));
            let there = (told.left - told.came) as f64 / 1e6;
            let figures =
                [format!("{:.1}", told.token_s), span(told.waited_s), told.peak.to_string(), span(there)];
            for ((x, _), figure) in columns[1..].iter().zip(figures) {
                self.text(*x, y, "e", &figure);
            }
        }
        if story.clients.len() > MOST {
            self.y += 18.0;
            self.text(LEFT, self.y, "s", &format!("and {} more", story.clients.len() - MOST));
        }
        self.y += 24.0;
    }

    fn end(self) -> String {
        let (height, svg) = (self.y, self.svg);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\">\n<style>{STYLE}</style>\n\
             <defs><pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
             <rect width=\"6\" height=\"6\" fill=\"#fff\" fill-opacity=\".35\"/><path d=\"M0 0v6\" stroke=\"#444\" stroke-width=\"1.5\"/></pattern></defs>\n\
             <rect width=\"{WIDTH}\" height=\"{height:.0}\" fill=\"#fff\"/>\n{svg}</svg>\n"
        )
    }
}
