//! `jobgate pages`: the manual pages and the shells' completions, made of what can be typed.
//!
//! Doesn't know what any command does: the options and what `--help` says below them stand in `args`, the rest in `prose`. Both are
//! written alike. Lines at the margin are text, and an empty one ends a paragraph; one that ends in a colon, alone, begins a section. A
//! line that is set in by two is an entry: what is explained, two spaces, and the explanation, which goes on in lines that are set in
//! further. In text, what stands between backquotes is bold.

use super::args::{Args, PagesArgs};
use super::{Failure, prose};
use crate::sys::files;
use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, CommandFactory};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};
use std::io;
use std::path::Path;

/// When the pages were last changed in more than their form, for their last line.
const DATE: &str = "2026-11-25";

const MANUAL: &str = "jobgate manual";

/// Sections in the order in which manuals have them; others come before these.
const ORDER: [&str; 6] = ["EXIT STATUS", "ENVIRONMENT", "SIGNALS", "FILES", "EXAMPLES", "SEE ALSO"];

/// Where each shell looks, below a prefix's `share`.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions/jobgate"),
    (Shell::Zsh, "zsh/site-functions/_jobgate"),
    (Shell::Fish, "fish/vendor_completions.d/jobgate.fish"),
];

/// What `clap_complete` leaves out for bash.
const COMMAND_IN_BASH: &str = r#"
# What stands behind the first -- is another command's.
_jobgate_or_command() {
    local at offset
    for ((at = 2; at < COMP_CWORD; at++)); do
        [[ ${COMP_WORDS[at]} == -- ]] || continue
        # bash-completion's, by its newer name and by its older one.
        for offset in _comp_command_offset _command_offset; do
            if declare -F "$offset" >/dev/null; then
                "$offset" $((at + 1))
                return
            fi
        done
        COMPREPLY=()
        ((COMP_CWORD > at + 1)) || mapfile -t COMPREPLY < <(compgen -c -- "$2")
        return
    done
    _jobgate "$@"
}
complete -F _jobgate_or_command -o bashdefault -o default jobgate
"#;

/// Writes them all.
pub fn pages(args: &PagesArgs) -> Result<(), Failure> {
    let put = |name: &Path, text: &[u8]| {
        let file = args.folder.join(name);
        files::put(&file, text).map_err(|error| Failure(format!("can't write '{}': {error}", file.display())))
    };
    for (name, page) in all_pages() {
        put(&Path::new("man/man1").join(name), page.as_bytes())?;
    }
    for (shell, name) in COMPLETIONS {
        let mut text = Vec::new();
        generate(shell, &mut completed(&Args::command()), "jobgate", &mut text);
        if shell == Shell::Bash {
            text.extend_from_slice(COMMAND_IN_BASH.as_bytes());
        }
        put(Path::new(name), &text)?;
    }
    Ok(())
}

/// Each page by its file's name.
fn all_pages() -> Vec<(String, String)> {
    let mut program = Args::command().disable_help_subcommand(true);
    program.build();
    let below = program.get_subcommands().filter(|command| !command.is_hide_set());
    let commands: Vec<&Command> = std::iter::once(&program).chain(below).collect();
    let names: Vec<String> = commands.iter().map(|command| name_of(command)).collect();
    let page = |command: &&Command| (format!("{}.1", name_of(command)), page(command, &names));
    commands.iter().map(page).collect()
}

/// As the page is called.
fn name_of(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

fn page(command: &Command, names: &[String]) -> String {
    let name = name_of(command);
    let mut command = command.clone();
    // The options one by one would hide what matters.
    let usage = command.render_usage().to_string();
    let usage = usage.strip_prefix("Usage:").unwrap_or(&usage).trim().to_owned();
    let has_socket = command.get_arguments().any(|option| option.get_long() == Some("socket"));
    let below_the_options = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let prose = prose::of(command.get_name()).unwrap_or_default();
    let (description, more) = divide(prose);
    let (remarks, own) = divide(&below_the_options);
    let mut sections = Sections::default();
    sections.add(own);
    sections.add(more);
    sections.add_where_missing(prose::EXIT_STATUS);
    if has_socket {
        sections.add(divide(prose::SOCKET).1);
    }
    sections.add(divide(prose::LOG).1);
    let others = names.iter().filter(|other| **other != name);
    let others: Vec<String> = others.map(|other| format!("`{other}`(1)")).collect();
    sections.add(vec![("SEE ALSO".to_owned(), vec![Part::Text(others.join(", "))])]);

    let source = format!("jobgate {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone().override_usage(usage).subcommand_help_heading("COMMANDS"));
    let man = man.title(name.to_uppercase()).date(DATE).source(source).manual(MANUAL);
    let mut text = Vec::new();
    let written = (|| -> io::Result<()> {
        man.render_title(&mut text)?;
        man.render_name_section(&mut text)?;
        man.render_synopsis_section(&mut text)?;
        roff_of("DESCRIPTION", &[description, remarks].concat()).to_writer(&mut text)?;
        man.render_options_section(&mut text)?;
        if command.has_subcommands() {
            man.render_subcommands_section(&mut text)?;
        }
        sections.ordered().iter().try_for_each(|(head, parts)| roff_of(head, parts).to_writer(&mut text))
    })();
    debug_assert!(written.is_ok(), "a Vec takes all");
    tidy(&String::from_utf8_lossy(&text))
}

/// A piece of what is written.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    /// A paragraph.
    Text(String),
    /// What is explained, and the explanation, which may be empty.
    Entry(String, String),
}

type Section = (String, Vec<Part>);

/// What stands before the first section, and the sections by their heads in capitals.
fn divide(text: &str) -> (Vec<Part>, Vec<Section>) {
    let mut before = Vec::new();
    let mut sections: Vec<Section> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        let words = line.trim_start();
        let depth = line.len() - words.len();
        let head = line.strip_suffix(':').filter(|head| depth == 0 && !goes_on && head.len() < 20);
        if let Some(head) = head {
            sections.push((head.to_uppercase(), Vec::new()));
            continue;
        }
        let parts = sections.last_mut().map_or(&mut before, |(_, parts)| parts);
        match (depth, parts.last_mut()) {
            _ if words.is_empty() => goes_on = false,
            (0, Some(Part::Text(text))) if goes_on => *text = format!("{text} {words}"),
            (0, _) => {
                parts.push(Part::Text(words.to_owned()));
                goes_on = true;
            }
            (3.., Some(Part::Entry(_, text))) => {
                *text = format!("{text} {words}").trim_start().to_owned();
            }
            (_, _) => {
                let (what, explanation) = words.split_once("  ").unwrap_or((words, ""));
                parts.push(Part::Entry(what.to_owned(), explanation.trim().to_owned()));
                goes_on = false;
            }
        }
    }
    (before, sections)
}

/// Those of one page.
#[derive(Default)]
struct Sections(Vec<Section>);

impl Sections {
    /// What is explained already isn't explained again.
    fn add(&mut self, sections: Vec<Section>) {
        for (head, parts) in sections {
            match self.0.iter_mut().find(|(known, _)| *known == head) {
                None => self.0.push((head, parts)),
                Some((_, known)) => {
                    let new = |part: &Part| !known.iter().any(|other| explains(other) == explains(part));
                    let new: Vec<Part> = parts.into_iter().filter(new).collect();
                    // Remarks on all entries stay below them.
                    let at =
                        known.iter().rposition(|part| matches!(part, Part::Entry(..))).map_or(0, |at| at + 1);
                    known.splice(at..at, new);
                }
            }
        }
    }

    fn add_where_missing(&mut self, text: &str) {
        let is_missing = |section: &Section| !self.0.iter().any(|(head, _)| *head == section.0);
        let missing = divide(text).1.into_iter().filter(is_missing).collect();
        self.add(missing);
    }

    fn ordered(mut self) -> Vec<Section> {
        let place =
            |section: &Section| ORDER.iter().position(|head| *head == section.0).map_or(0, |at| at + 1);
        self.0.sort_by_key(place);
        self.0
    }
}

fn explains(part: &Part) -> &str {
    let (Part::Text(what) | Part::Entry(what, _)) = part;
    what
}

fn roff_of(head: &str, parts: &[Part]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [head]);
    for (at, part) in parts.iter().enumerate() {
        match part {
            Part::Text(text) => {
                if at > 0 {
                    roff.control("PP", []);
                }
                roff.text(inlines(text));
            }
            Part::Entry(what, explanation) => {
                roff.control("TP", []);
                roff.text([bold(what)]);
                roff.text(inlines(explanation));
            }
        }
    }
    roff
}

/// What stands between backquotes is bold.
fn inlines(text: &str) -> Vec<Inline> {
    let style = |(at, piece)| if at % 2 == 1 { bold(piece) } else { roman(piece) };
    text.split('`').enumerate().filter(|(_, piece)| !piece.is_empty()).map(style).collect()
}

/// As a page written by hand would be: what is defined at each section's start only once, and no line that is too long for an
/// editor, empty, or ends in white space.
fn tidy(text: &str) -> String {
    const WIDTH: usize = 78;
    let mut tidy = String::new();
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        let is_preamble = line.starts_with(".ie ") || line.starts_with(".el ");
        if is_preamble && tidy.contains(line) {
            continue;
        }
        // A request is one line; and so is what a paragraph's tag is made of, which stands in bold.
        let breaks = !line.starts_with('.') && !tidy.ends_with(".TP\n");
        let mut width = 0;
        for word in line.split(' ') {
            // The line of a text mustn't begin as a request does.
            if breaks && width > 0 && width + word.len() > WIDTH && !word.starts_with(['.', '\'']) {
                tidy.push('\n');
                width = 0;
            } else if width > 0 {
                tidy.push(' ');
            }
            tidy.push_str(word);
            width += word.len() + 1;
        }
        tidy.push('\n');
    }
    tidy
}

/// What completions offer: nothing that is hidden, and the words of a value that is one of a few.
fn completed(command: &Command) -> Command {
    let shown = |option: &&Arg| !option.is_hide_set();
    let options = command.get_arguments().filter(shown).cloned().map(|option| match words_of(&option) {
        Some(words) => option.value_parser(PossibleValuesParser::new(words)),
        None => option,
    });
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set()).map(completed);
    let mut made = Command::new(command.get_name().to_owned()).args(options).subcommands(commands);
    if let Some(about) = command.get_about() {
        made = made.about(about.clone());
    }
    match command.get_version() {
        Some(version) => made.version(version.to_owned()),
        None => made,
    }
}

/// Where a value is one of a few words its name lists them.
fn words_of(option: &Arg) -> Option<Vec<String>> {
    let [name] = option.get_value_names()? else { return None };
    let are_words = name.chars().all(|c| c.is_ascii_lowercase() || c == '|');
    are_words.then(|| name.split('|').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_divided_into_sections_of_paragraphs_and_entries() {
        let text = |text: &str| Part::Text(text.to_owned());
        let entry = |what: &str, explanation: &str| Part::Entry(what.to_owned(), explanation.to_owned());
        let written = "One\ntwo: three.\n\nFour.\n\nFiles:\n  /a, /b  the first,\n          the second\n  a b\n     alone\nRest:\nmore\n";
        let (before, sections) = divide(written);
        assert_eq!(before, [text("One two: three."), text("Four.")]);
        let files = [entry("/a, /b", "the first, the second"), entry("a b", "alone")];
        assert_eq!(sections, [("FILES".to_owned(), files.to_vec()), ("REST".to_owned(), vec![text("more")])]);
    }

    #[test]
    fn what_holds_for_all_is_added_once_above_the_remarks() {
        let mut sections = Sections::default();
        sections.add(divide("Environment:\n  A  one\nA remark.").1);
        sections.add(divide("Environment:\n  A  another\n  B  two\nFiles:\n  /a  it").1);
        sections.add_where_missing("Environment:\n  C  three\nExit status:\n  0  done");
        let ordered = sections.ordered();
        let heads: Vec<&str> = ordered.iter().map(|(head, _)| head.as_str()).collect();
        assert_eq!(heads, ["EXIT STATUS", "ENVIRONMENT", "FILES"]);
        let explained: Vec<&str> = ordered[1].1.iter().map(explains).collect();
        assert_eq!(explained, ["A", "B", "A remark."]);
    }

    #[test]
    fn lines_are_short_and_none_begins_as_a_request_does() {
        let words = format!("{} 'quoted' .dot end", ["word"; 15].join(" "));
        let tidied = tidy(&format!(".SH \"A head\"\n{words}  \n\n.TP\n{0}\n", words.replace(' ', "\u{a0}")));
        let lines: Vec<&str> = tidied.lines().collect();
        assert_eq!(lines.len(), 5, "{tidied}");
        assert!(lines.iter().take(3).all(|line| line.len() <= 90 && !line.starts_with('\'')), "{tidied}");
    }

    /// Nothing that can be typed is left out, and what is hidden is.
    #[test]
    fn every_command_has_its_page_and_every_page_its_sections() {
        let pages = all_pages();
        let program = Args::command();
        let shown: Vec<&Command> =
            program.get_subcommands().filter(|command| !command.is_hide_set()).collect();
        assert_eq!(pages.len(), shown.len() + 1);
        assert!(pages.iter().all(|(name, _)| name != "jobgate-pages.1"));
        for command in shown {
            let name = command.get_name();
            let (_, page) = pages.iter().find(|(file, _)| *file == format!("jobgate-{name}.1")).expect(name);
            assert!(prose::of(name).is_some_and(|text| !text.is_empty()), "{name}");
            for option in command.get_arguments() {
                let Some(long) = option.get_long() else { continue };
                let stands = page.contains(&format!("\\fB\\-\\-{}\\fR", long.replace('-', "\\-")));
                assert_eq!(stands, !option.is_hide_set(), "{name} --{long}");
            }
        }
        for (name, page) in &pages {
            let heads =
                ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "SEE ALSO"];
            let at = heads.map(|head| {
                page.find(&format!(".SH {head}\n")).or_else(|| page.find(&format!(".SH \"{head}\"\n")))
            });
            assert!(at.iter().all(Option::is_some) && at.is_sorted(), "{name}: {at:?}");
        }
    }
}
