//! Numbers of jobs, load limits and jobservers in variables and makefiles.
//!
//! Doesn't read the environment or a file, nor try a jobserver: it is told what stands there, and what the trial gave.
//! What make does with each assignment was tried with 4.3 and 4.4.1.

use super::Finding;
use crate::proto::argv::{self, Edit, Tool, make};
use crate::proto::makeflags::{self, Inherited};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// The variables, besides those that name a jobserver, that hold a number of jobs.
pub const VARIABLES: [&str; 5] =
    ["NINJAFLAGS", "PARALLEL_MAKE", "CMAKE_BUILD_PARALLEL_LEVEL", "CARGO_BUILD_JOBS", "DEB_BUILD_OPTIONS"];

/// What make reads in the current folder, the first of them that is there (GNU make manual, "Makefile Names").
pub const MAKEFILES: [&str; 3] = ["GNUmakefile", "makefile", "Makefile"];

/// A jobserver that a variable names, and why it can't be joined.
pub type Named = (Inherited, Result<(), String>);

/// An option that bounds the jobs.
#[derive(Debug, PartialEq, Eq)]
struct Bound {
    /// As it stands there.
    text: String,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// `-jN`; `None` without a number, or with one that only make can tell (`-j$(nproc)`).
    Jobs(Option<u32>),
    /// `-l`.
    Load,
}

/// The `-j` and `-l` in a value of MAKEFLAGS.
fn bounds(value: &[u8]) -> Vec<Bound> {
    let words = makeflags::words(value);
    let words: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
    let edits = make::edits(&words).words;
    let mut bounds = Vec::new();
    for (at, (word, edit)) in words.iter().zip(&edits).enumerate() {
        if *word == b"--" {
            break; // definitions of variables from here on
        }
        let option = match *edit {
            // Its number is known to make alone.
            Edit::Keep if !word.contains(&b'$') => continue,
            Edit::Keep | Edit::Drop => &word[1.min(word.len())..],
            Edit::Cut(length) => &word[length..],
        };
        let starts = |names: &[&str]| names.iter().any(|name| option.starts_with(name.as_bytes()));
        let is_long = option.starts_with(b"-");
        let kind = match word.first() {
            Some(b'-') if starts(&["-l", "-max-l"]) || !is_long && starts(&["l"]) => Kind::Load,
            Some(b'-') if starts(&["-jobserver"]) => continue,
            Some(b'-') if starts(&["-j"]) || !is_long && starts(&["j"]) => Kind::Jobs(None),
            _ => continue,
        };
        // The number may be a word of its own.
        let is_argument = |(word, edit): &(&&[u8], &Edit)| **edit == Edit::Drop && !word.starts_with(b"-");
        let rest = words[at + 1..].iter().zip(&edits[at + 1..]).take(1).filter(is_argument);
        let text: Vec<_> =
            std::iter::once(word).chain(rest.map(|(word, _)| word)).map(|word| lossy(word)).collect();
        let text = text.join(" ");
        let number = text.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|number| number.parse().ok());
        let kind = if kind == Kind::Load { kind } else { Kind::Jobs(number) };
        bounds.push(Bound { text, kind });
    }
    bounds
}

/// `MAKEFLAGS` or `GNUMAKEFLAGS`. In the recipe of a make with a pool `-jN` says how large that is, which is nobody's wish.
pub fn makeflags(name: &str, value: &OsStr, is_in_pool: bool) -> Vec<Finding> {
    let finding = |bound: Bound| {
        let text = &bound.text;
        let (what, mend) = match bound.kind {
            Kind::Jobs(_) if is_in_pool => return None,
            // A run takes it out, and there is nothing to bound the run by.
            Kind::Jobs(None) => return None,
            Kind::Jobs(Some(number)) => (
                format!(
                    "{name} has '{text}': no run started here gets more than {number} of the gate's jobs."
                ),
                format!(
                    "Take '{text}' out of {name}, or leave it if that is meant (it is what --cap {number} says)."
                ),
            ),
            Kind::Load => (
                format!(
                    "{name} has '{text}': a run takes load limits out, for a make with one hoards tokens."
                ),
                format!("Take '{text}' out of {name}, and hold the gate by pressure instead (--max-cpu)."),
            ),
        };
        Some(Finding::new(name, what, mend))
    };
    bounds(value.as_bytes()).into_iter().filter_map(finding).collect()
}

/// The jobserver that MAKEFLAGS names, or would: `named` where it is one that could be tried.
pub fn jobserver(value: &OsStr, named: Option<&Named>, is_ours: bool) -> Option<Finding> {
    const BY_PLUS: &str = "Write the command in the recipe with $(MAKE) or with a '+' before it, so that make hands its jobserver on.";
    let (what, mend) = match named {
        Some((_, Ok(()))) => return None,
        Some((inherited, Err(why))) => {
            let mend = match inherited {
                _ if is_ours => {
                    "The run or 'jobgate env' behind it has ended: unset MAKEFLAGS (eval \"$(jobgate env --stop)\"), or start a new shell."
                }
                Inherited::Pipe { .. } => BY_PLUS,
                Inherited::Fifo(_) => "Whoever made it has ended: unset MAKEFLAGS, or start a new shell.",
            };
            (format!("MAKEFLAGS names the jobserver {}, which is dead: {why}.", name(inherited)), mend)
        }
        None => {
            let words = makeflags::words(value.as_bytes());
            // make 4.4 says so to recipes that aren't recursive.
            let is_kept_back = words.last().is_some_and(|word| word.as_slice() == b"--jobserver-auth=-2,-2");
            if !is_kept_back {
                return None;
            }
            (
                "MAKEFLAGS says --jobserver-auth=-2,-2: make keeps its jobserver back from this recipe."
                    .to_owned(),
                BY_PLUS,
            )
        }
    };
    Some(Finding::new("MAKEFLAGS", what, mend.to_owned()))
}

/// The jobserver that CARGO_MAKEFLAGS names, beside the one that MAKEFLAGS names.
pub fn cargo_jobserver(cargo: Option<&Named>, makeflags: Option<&Named>) -> Option<Finding> {
    let (own, alive) = cargo?;
    let what = match (alive, makeflags) {
        // Then all is said about MAKEFLAGS.
        (_, Some((other, _))) if other == own => return None,
        (Err(why), _) => format!("CARGO_MAKEFLAGS names the jobserver {}, which is dead: {why}.", name(own)),
        (Ok(()), Some((other, _))) => format!(
            "CARGO_MAKEFLAGS names the jobserver {}, which cargo joins, while MAKEFLAGS names {}.",
            name(own),
            name(other)
        ),
        // In a build script cargo says it in its own variable only.
        (Ok(()), None) => return None,
    };
    let mend = "Unset CARGO_MAKEFLAGS: without it cargo goes by MAKEFLAGS.".to_owned();
    Some(Finding::new("CARGO_MAKEFLAGS", what, mend))
}

/// A jobserver as one word, as it is written behind `--jobserver-auth=`.
pub fn name(inherited: &Inherited) -> String {
    match inherited {
        Inherited::Pipe { read, write } => format!("{read},{write}"),
        Inherited::Fifo(path) => format!("fifo:{}", path.display()),
    }
}

/// One of the other variables.
pub fn variable(name: &str, value: &OsStr) -> Option<Finding> {
    let text = lossy(value.as_bytes());
    let text = text.trim();
    let args: Vec<OsString> = text.split_whitespace().map(OsString::from).collect();
    let leaves = |tool| argv::strip(tool, &args).args != args;
    let (what, mend) = match name {
        "NINJAFLAGS" if leaves(Tool::Ninja) => (
            "a ninja that a script starts with it leaves the pool without a word".to_owned(),
            "Take -j and -l out of NINJAFLAGS: in the pool ninja needs neither.".to_owned(),
        ),
        "PARALLEL_MAKE" if leaves(Tool::Make) => (
            "a make that bitbake or a script starts with it leaves the pool".to_owned(),
            "Set PARALLEL_MAKE to nothing: in the pool make needs no -j.".to_owned(),
        ),
        "CMAKE_BUILD_PARALLEL_LEVEL" if !text.is_empty() => (
            "'cmake --build' starts its make or ninja with it as -j, which leaves the pool".to_owned(),
            "Unset CMAKE_BUILD_PARALLEL_LEVEL, and bound a run with --cap.".to_owned(),
        ),
        "CARGO_BUILD_JOBS" if !text.is_empty() => (
            "in the pool cargo doesn't heed it, but tells it to build scripts as NUM_JOBS".to_owned(),
            "Unset CARGO_BUILD_JOBS, and bound a run with --cap.".to_owned(),
        ),
        "DEB_BUILD_OPTIONS" => {
            let option = text.split_whitespace().rfind(|word| word.starts_with("parallel="))?;
            (
                format!("debhelper starts make and ninja with {option} as their own -j, outside the pool"),
                format!("Take {option} out of DEB_BUILD_OPTIONS."),
            )
        }
        _ => return None,
    };
    Some(Finding::new(name, format!("{name} is '{text}': {what}."), mend))
}

/// The assignments in a makefile that make its make leave the pool.
///
/// Conditions aren't followed. Target-specific assignments and `?=` change nothing in either make, so they are passed over.
pub fn makefile(file: &str, text: &[u8]) -> Vec<Finding> {
    let text = lossy(text);
    let mut findings = Vec::new();
    let mut lines = text.lines().enumerate();
    let mut defines = 0_u32;
    while let Some((at, line)) = lines.next() {
        if line.starts_with('\t') {
            continue; // a recipe
        }
        let mut line = line.to_owned();
        while let Some(begun) = line.strip_suffix('\\') {
            let begun = begun.to_owned();
            let Some((_, next)) = lines.next() else { break };
            line = begun + " " + next.trim_start();
        }
        match line.split_whitespace().next() {
            Some("define") => defines += 1,
            Some("endef") => defines = defines.saturating_sub(1),
            Some(_) | None => {}
        }
        let Some((variable, value)) = assignment(&line).filter(|_| defines == 0) else { continue };
        for bound in bounds(value.as_bytes()) {
            let number = match bound.kind {
                Kind::Jobs(Some(number)) => format!("jobgate run -j{number} -- make"),
                Kind::Jobs(None) => "jobgate run -j N -- make".to_owned(),
                Kind::Load => "jobgate run --max-cpu US -- make".to_owned(),
            };
            let does = match bound.kind {
                Kind::Jobs(_) => "make leaves the pool there",
                Kind::Load => "with a load limit make hoards tokens",
            };
            let (at, text) = (at + 1, &bound.text);
            findings.push(Finding::new(
                "makefile",
                format!("{file}:{at} puts '{text}' into {variable}: {does}."),
                format!("Take '{text}' out of line {at}, and say it to jobgate instead: {number}."),
            ));
        }
    }
    findings
}

/// The variable, if it is one of make's flags, and the value that a line gives or adds to it.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let mut rest = line.trim_start();
    while let Some(after) =
        ["export ", "override ", "private "].iter().find_map(|word| rest.strip_prefix(word))
    {
        rest = after.trim_start();
    }
    // 4.4 takes GNUMAKEFLAGS from the environment alone, 4.3 from a makefile too.
    let variable = ["MAKEFLAGS", "GNUMAKEFLAGS"].into_iter().find(|name| rest.starts_with(name))?;
    let rest = rest[variable.len()..].trim_start();
    let value = ["+=", ":::=", "::=", ":=", "="].iter().find_map(|sign| rest.strip_prefix(sign))?;
    let comment = value.match_indices('#').find(|(at, _)| !value[..*at].ends_with('\\'));
    Some((variable, value[..comment.map_or(value.len(), |(at, _)| at)].trim()))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(text: &str, number: impl Into<Option<u32>>) -> Bound {
        Bound { text: text.to_owned(), kind: Kind::Jobs(number.into()) }
    }

    fn load(text: &str) -> Bound {
        Bound { text: text.to_owned(), kind: Kind::Load }
    }

    #[test]
    fn options_that_bound_the_jobs() {
        let rows = [
            ("", vec![]),
            ("k", vec![]),
            ("-k -s -I -j4", vec![]),
            ("-j8", vec![jobs("-j8", 8)]),
            ("-j 8 -k", vec![jobs("-j 8", 8)]),
            ("j8", vec![jobs("-j8", 8)]),
            ("kj4", vec![jobs("-kj4", 4)]),
            ("--jobs=8", vec![jobs("--jobs=8", 8)]),
            ("-j", vec![jobs("-j", None)]),
            ("-j all", vec![jobs("-j", None)]),
            ("-jx --jobs=x", vec![]),
            ("-l3", vec![load("-l3")]),
            ("-l 2.5", vec![load("-l 2.5")]),
            ("--load-average=3 --max-load 2", vec![load("--load-average=3"), load("--max-load 2")]),
            ("-j4 -l3", vec![jobs("-j4", 4), load("-l3")]),
            ("-j$(nproc)", vec![jobs("-j$(nproc)", None)]),
            ("--jobs=$(shell nproc) --no-print-directory", vec![jobs("--jobs=$(shell nproc)", None)]),
            ("-l$(N)", vec![load("-l$(N)")]),
            ("-I$(D) $(X) --include-dir=$(D)", vec![]),
            (" -j --jobserver-auth=3,4", vec![jobs("-j", None)]),
            (" -j3 --jobserver-auth 3,4 -l2", vec![jobs("-j3", 3), load("-l2")]),
            (" -- A=-j4 -j4 B=$(X) -l$(X)", vec![]),
            ("X=-j4", vec![]),
        ];
        for (value, expected) in rows {
            assert_eq!(bounds(value.as_bytes()), expected, "{value:?}");
        }
    }

    #[test]
    fn flags_in_the_environment() {
        let found = |value: &str, is_in_pool| -> Vec<String> {
            let findings = makeflags("MAKEFLAGS", OsStr::new(value), is_in_pool);
            assert!(findings.iter().all(|finding| finding.about == "MAKEFLAGS" && !finding.mend.is_empty()));
            findings.into_iter().map(|finding| finding.what).collect()
        };
        let cap = "MAKEFLAGS has '-j8': no run started here gets more than 8 of the gate's jobs.";
        let load = "MAKEFLAGS has '-l3': a run takes load limits out, for a make with one hoards tokens.";
        assert_eq!(found("-j8 -l3", false), [cap, load]);
        assert_eq!(found("-j8 -l3", true), [load]);
        assert!(found("-j -k", false).is_empty());
    }

    #[test]
    fn jobservers_in_the_environment() {
        let pipe = Inherited::Pipe { read: 3, write: 4 };
        let fifo = Inherited::Fifo("/tmp/f".into());
        let dead = || Err("/tmp/f: No such file".to_owned());
        let rows = [
            (" -j3 --jobserver-auth=3,4", Some((pipe.clone(), Ok(()))), None),
            (" -k", None, None),
            (
                " --jobserver-auth=fifo:/tmp/f",
                Some((fifo.clone(), dead())),
                Some("MAKEFLAGS names the jobserver fifo:/tmp/f, which is dead: /tmp/f: No such file."),
            ),
            (
                " -j3 --jobserver-auth=3,4",
                Some((pipe.clone(), Err("descriptor 3: Bad file descriptor".to_owned()))),
                Some("MAKEFLAGS names the jobserver 3,4, which is dead: descriptor 3: Bad file descriptor."),
            ),
            (
                " -j3 --jobserver-auth=3,4 --jobserver-auth=-2,-2",
                None,
                Some(
                    "MAKEFLAGS says --jobserver-auth=-2,-2: make keeps its jobserver back from this recipe.",
                ),
            ),
        ];
        for (value, named, what) in &rows {
            let found = jobserver(OsStr::new(value), named.as_ref(), false);
            assert_eq!(found.map(|finding| finding.what).as_deref(), *what, "{value}");
        }
        let mend =
            |named, is_ours| jobserver(OsStr::new(""), Some(&named), is_ours).map(|finding| finding.mend);
        assert!(mend((pipe.clone(), dead()), false).is_some_and(|mend| mend.contains("$(MAKE)")));
        assert!(mend((fifo.clone(), dead()), true).is_some_and(|mend| mend.contains("jobgate env --stop")));

        let (pipe, fifo, stale) = ((pipe, Ok(())), (fifo.clone(), Ok(())), (fifo, dead()));
        let rows = [
            (None, Some(&pipe), None),
            (Some(&pipe), Some(&pipe), None),
            (Some(&stale), Some(&stale), None),
            (Some(&pipe), None, None),
            (Some(&stale), None, Some("fifo:/tmp/f, which is dead: /tmp/f: No such file.")),
            (Some(&stale), Some(&pipe), Some("fifo:/tmp/f, which is dead: /tmp/f: No such file.")),
            (Some(&fifo), Some(&pipe), Some("fifo:/tmp/f, which cargo joins, while MAKEFLAGS names 3,4.")),
        ];
        for (cargo, makeflags, what) in rows {
            let what = what.map(|what| format!("CARGO_MAKEFLAGS names the jobserver {what}"));
            assert_eq!(cargo_jobserver(cargo, makeflags).map(|finding| finding.what), what);
        }
    }

    #[test]
    fn other_variables() {
        let rows = [
            ("NINJAFLAGS", "-v", None),
            ("NINJAFLAGS", "-v -j8", Some("NINJAFLAGS is '-v -j8': ")),
            ("NINJAFLAGS", "-l 3", Some("NINJAFLAGS is '-l 3': ")),
            // A debug mode to ninja, and a flag to make.
            ("NINJAFLAGS", "-d -j8", None),
            ("PARALLEL_MAKE", "-d -j8", Some("PARALLEL_MAKE is '-d -j8': ")),
            ("PARALLEL_MAKE", "", None),
            ("PARALLEL_MAKE", " -j 8 ", Some("PARALLEL_MAKE is '-j 8': ")),
            ("CMAKE_BUILD_PARALLEL_LEVEL", "", None),
            ("CMAKE_BUILD_PARALLEL_LEVEL", "8", Some("CMAKE_BUILD_PARALLEL_LEVEL is '8': ")),
            ("CARGO_BUILD_JOBS", "4", Some("CARGO_BUILD_JOBS is '4': ")),
            ("DEB_BUILD_OPTIONS", "nocheck", None),
            ("DEB_BUILD_OPTIONS", "nocheck parallel=8", Some("DEB_BUILD_OPTIONS is 'nocheck parallel=8': ")),
            ("PATH", "-j8", None),
        ];
        for (name, value, begins) in rows {
            let found = variable(name, OsStr::new(value));
            let what = found.as_ref().map(|finding| &finding.what[..]).unwrap_or_default();
            assert_eq!(found.is_some(), begins.is_some(), "{name}={value}");
            assert!(what.starts_with(begins.unwrap_or_default()), "{what}");
        }
        let all = VARIABLES.map(|name| variable(name, OsStr::new("-j8 parallel=8")));
        assert!(all.iter().all(Option::is_some), "{all:?}");
    }

    #[test]
    fn assignments_in_makefiles() {
        #[rustfmt::skip]
        let rows = [
            ("MAKEFLAGS += -j8\n", "1 -j8"),
            ("all:\n\ttrue\n\nMAKEFLAGS+=-j8 -l3 # fast\n", "4 -j8|4 -l3"),
            ("MAKEFLAGS = -j8\nMAKEFLAGS := k\nMAKEFLAGS::=-j2\n", "1 -j8|3 -j2"),
            ("export MAKEFLAGS += -j 8\n override MAKEFLAGS+=--jobs=3\n", "1 -j 8|2 --jobs=3"),
            ("MAKEFLAGS += -j$(shell nproc)\n", "1 -j$(shell nproc)"),
            ("MAKEFLAGS += -j\nGNUMAKEFLAGS += -j4\n", "1 -j|2 -j4"),
            ("X = 1 \\\n  2\nMAKEFLAGS += \\\n  --no-print-directory \\\n  -j4\n", "3 -j4"),
            ("X = a\\\nMAKEFLAGS += -j4\n", ""),
            // Nothing that either make acts on.
            ("MAKEFLAGS ?= -j8\nall: MAKEFLAGS += -j8\n", ""),
            ("define x\nMAKEFLAGS += -j8\nendef\n", ""),
            ("all:\n\tMAKEFLAGS=-j8 sh\n", ""),
            ("# MAKEFLAGS += -j8\nMAKEFLAGS += -s # -j8\n", ""),
            ("MYMAKEFLAGS += -j8\nMAKEFLAGS_X = -j8\nMAKEFLAGS\nX = MAKEFLAGS += -j8\n", ""),
            ("MAKEFLAGS += --no-print-directory -rR\n", ""),
            ("", ""),
        ];
        for (text, expected) in rows {
            let found = makefile("Makefile", text.as_bytes());
            let short = |finding: &Finding| {
                let rest = finding.what.strip_prefix("Makefile:").expect("it names the file");
                let (at, rest) = rest.split_once(" puts '").expect("it names the line");
                format!("{at} {}", rest.split_once("' into").expect("and the option").0)
            };
            let found: Vec<String> = found.iter().map(short).collect();
            assert_eq!(found.join("|"), expected, "{text:?}");
        }
    }
}
