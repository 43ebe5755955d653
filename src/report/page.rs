//! The report as one page of HTML that needs nothing else: the sentence, the picture, and the tables.
//!
//! Doesn't know how the picture is drawn. No script: it can be read, printed and kept.

use super::picture;
use super::story::{Cause, Story};
use super::words::{date, escape, percent, span};
use std::fmt::Write;

/// More clients than these are summed up: a page is to be read.
const MOST_ROWS: usize = 2_000;

const STYLE: &str = "\
body{font:15px/1.45 system-ui,sans-serif;color:#222;background:#fff;max-width:1040px;margin:1.5em auto;padding:0 1em}\
svg{width:100%;height:auto;display:block}table{border-collapse:collapse;width:100%;font-size:14px}\
th,td{text-align:right;padding:.25em .6em;border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums}\
th:first-child,td:first-child{text-align:left}.c{display:inline-block;width:.8em;height:.8em;margin-right:.5em;border:1px solid #777}\
h2{font-size:17px;margin:1.6em 0 .4em}.w{border-left:4px solid #c00;padding-left:.7em}@media print{body{margin:0;max-width:none}\
svg,tr{break-inside:avoid}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}";

/// The whole page. `notes`: what its reader should know of the journal itself.
pub fn draw(story: &Story, notes: &[String]) -> String {
    let mut page = String::new();
    let title = match story.clients.as_slice() {
        [only] => only.label.clone(),
        all => format!("{} clients", all.len()),
    };
    let title = escape(&format!("{title}, {}", date(story.header.unix_us)));
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
    );
    for note in notes {
        let _ = writeln!(page, "<p class=\"w\">{}</p>", escape(note));
    }
    page.push_str(&picture::draw(story, false));
    clients(&mut page, story);
    causes(&mut page, story);
    settings(&mut page, story);
    page.push_str("</body>\n</html>\n");
    page
}

fn row(page: &mut String, tag: &str, cells: &[String]) {
    page.push_str("<tr>");
    for cell in cells {
        let _ = write!(page, "<{tag}>{cell}</{tag}>");
    }
    page.push_str("</tr>\n");
}

fn head(page: &mut String, title: &str, columns: &[&str]) {
    let _ = write!(page, "<h2>{title}</h2>\n<table>\n");
    row(page, "th", &columns.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
}

fn clients(page: &mut String, story: &Story) {
    head(
        page,
        "Clients",
        &["client", "came", "there for", "tokens × seconds", "of all", "waited", "most jobs"],
    );
    let areas = picture::areas(story);
    let all: f64 = story.clients.iter().map(|told| told.token_s).sum();
    for (number, told) in story.clients.iter().enumerate().take(MOST_ROWS) {
        let colour = areas.own.iter().find(|own| own.0 == number).map(|own| own.2);
        let mark = colour.map_or(String::new(), |colour| {
            format!("<span class=\"c\" style=\"background:{colour}\"></span>")
        });
        let cells = [
            format!("{mark}{}", escape(&picture::name(number, told))),
            span(told.came as f64 / 1e6),
            span(told.left.saturating_sub(told.came) as f64 / 1e6),
            format!("{:.1}", told.token_s),
            percent(told.token_s, all),
            span(told.waited_s),
            told.peak.to_string(),
        ];
        row(page, "td", &cells);
    }
    page.push_str("</table>\n");
    if story.clients.len() > MOST_ROWS {
        let _ = writeln!(page, "<p>And {} more.</p>", story.clients.len() - MOST_ROWS);
    }
}

/// What kept those waiting who wanted more.
fn causes(page: &mut String, story: &Story) {
    head(page, "While somebody could use more jobs", &["what bounded them", "time", "of all"]);
    let mut causes: Vec<_> = story.causes.iter().collect();
    causes.sort_by(|one, other| other.1.total_cmp(one.1));
    for (cause, &seconds) in causes {
        let name = match cause {
            Cause::Gate(of) => format!("the gate was held: {of}"),
            Cause::Law(part) if part == "growth" => "the limit grew step by step".to_owned(),
            Cause::Law(part) => format!("the law's limit: {part} was the tightest"),
            Cause::Ceiling => "all jobs that may run did".to_owned(),
            Cause::Recovery => "the gate had come anew".to_owned(),
        };
        row(page, "td", &[escape(&name), span(seconds), percent(seconds, story.seconds())]);
    }
    page.push_str("</table>\n");
    let _ = writeln!(
        page,
        "<p>The gate was held for {} in all ({}).</p>",
        span(story.held_s),
        percent(story.held_s, story.seconds())
    );
}

fn settings(page: &mut String, story: &Story) {
    head(page, "Settings", &["setting", "value", "said by"]);
    for (key, setting) in &story.scene.settings.from {
        row(page, "td", &[escape(key), escape(&setting.value), escape(&setting.from)]);
    }
    page.push_str("</table>\n");
}
