//! `jobgate doctor`: looks at this machine for what would keep a build out of the gate, and shows what it found.
//!
//! Doesn't judge what it sees: `proto::findings` does. Changes nothing but that it makes, as a run would, the folder of one's
//! own in which a gate's socket lies.

use super::args::DoctorArgs;
use super::{Failure, around, gate, listed, style};
use crate::policy::pressure::Resource;
use crate::proto::findings::flags::{self, MAKEFILES, Named, VARIABLES};
use crate::proto::findings::tools::{NAMES, Seen, Tool};
use crate::proto::findings::{self, Checkup, Finding, tools as judge_tools};
use crate::proto::makeflags;
use crate::proto::wire::{Hello, PROTOCOL};
use crate::proxy::link::{Link, NoLink};
use crate::sys::foreign::Foreign;
use crate::sys::{files, folder, limits, proc, shims, socket, tools};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Something was found.
const FOUND: i32 = 1;

/// Looks, shows, and ends with the status that says whether something was found.
pub fn doctor(args: &DoctorArgs) -> Result<(), Failure> {
    // Before any file is opened: a descriptor that MAKEFLAGS names and nobody handed on could be ours.
    let environment = environment();
    let root = args.proc.as_deref().unwrap_or(Path::new("/proc"));
    let shims = shims::for_path(&listed::names());
    let (tools, tool_findings) = the_tools(shims.as_deref());
    let found = [
        pressure(root),
        tool_findings,
        environment,
        makefile(),
        sockets(gate::named(args.socket.as_deref()).as_deref()),
        the_limits(root),
        shims.map_or_else(no_shims, |shims| shims_on_path(&shims)).into_iter().collect(),
    ];
    let checkup = Checkup { tools, findings: found.into_iter().flatten().collect() };
    let text = if args.json {
        serde_json::to_string(&checkup).map_err(|error| Failure(error.to_string()))? + "\n"
    } else {
        draw(&checkup)
    };
    // Nobody may read it; the status says it, too.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if checkup.findings.is_empty() { Ok(()) } else { std::process::exit(FOUND) }
}

fn pressure(root: &Path) -> Vec<Finding> {
    findings::pressure(root, &Resource::ALL.map(|resource| (resource.name(), proc::pressure(root, resource))))
}

/// Every tool that a command or a script could reach, those on PATH first, and none of our shims.
fn the_tools(shims: Option<&Path>) -> (Vec<Tool>, Vec<Finding>) {
    let mut seen: Vec<(&str, PathBuf)> = Vec::new();
    for name in NAMES {
        let usual = style::USUAL_FOLDERS.iter().map(|folder| Path::new(folder).join(name));
        let usual = usual.filter(|file| tools::is_executable(file));
        for file in tools::on_path(OsStr::new(name)).into_iter().chain(usual) {
            let is_shim = shims.is_some_and(|shims| file.parent() == Some(shims));
            let is_known = |(other, path): &(&str, PathBuf)| *other == name && files::is_same(path, &file);
            if !is_shim && !seen.iter().any(is_known) {
                seen.push((name, file));
            }
        }
    }
    let paths: Vec<PathBuf> = seen.iter().map(|(_, path)| path.clone()).collect();
    let said = tools::version_text_of_each(&paths);
    let seen: Vec<Seen<'_>> =
        seen.iter().zip(&said).map(|((name, path), said)| (*name, path.as_path(), said.as_deref())).collect();
    judge_tools::judge(&seen)
}

/// Variables that bound the jobs, or name a jobserver that isn't there.
fn environment() -> Vec<Finding> {
    let value = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let makeflags = value("MAKEFLAGS").unwrap_or_default();
    let named = jobserver(&makeflags);
    let cargo = value("CARGO_MAKEFLAGS").as_deref().and_then(jobserver);
    let is_ours = named.as_ref().is_some_and(|(inherited, _)| {
        value(around::AUTH).is_some_and(|auth| auth.to_string_lossy() == flags::name(inherited))
    });
    let mut found = Vec::from_iter(flags::jobserver(&makeflags, named.as_ref(), is_ours));
    // One that is dead or kept back has left its size there, too; what mends the one mends the other.
    let is_in_pool = named.is_some() || !found.is_empty();
    found.extend(flags::cargo_jobserver(cargo.as_ref(), named.as_ref()));
    found.extend(flags::makeflags("MAKEFLAGS", &makeflags, is_in_pool));
    if let Some(value) = value("GNUMAKEFLAGS") {
        found.extend(flags::makeflags("GNUMAKEFLAGS", &value, is_in_pool));
    }
    found.extend(VARIABLES.iter().filter_map(|name| flags::variable(name, &value(name)?)));
    found
}

/// The jobserver that these flags name, tried.
fn jobserver(flags: &OsStr) -> Option<Named> {
    let inherited = makeflags::inherited(flags)?;
    let tried = Foreign::open(&inherited).map(drop).map_err(|error| error.to_string());
    Some((inherited, tried))
}

/// The makefile that a make started here would read.
fn makefile() -> Vec<Finding> {
    let read = |name: &'static str| Some((name, files::read_regular(Path::new(name)).ok()?));
    MAKEFILES.into_iter().find_map(read).map(|(name, text)| flags::makefile(name, &text)).unwrap_or_default()
}

/// Whether a run can have its gate: at the socket that was named, or the host's and one's own.
fn sockets(named: Option<&Path>) -> Vec<Finding> {
    let mut found = Vec::new();
    if named.is_none() {
        let untrusted = socket::untrusted_folder();
        found.extend(
            untrusted
                .map(|folder| findings::passed_over(folder, "writable for others, or owned by one of them")),
        );
        let skipped = folder::passed_over();
        found.extend(skipped.iter().map(|(folder, why)| findings::passed_over(folder, &why.to_string())));
    }
    match socket::places(named) {
        Ok(places) => found.extend(places.into_iter().filter_map(|place| at_place(place, named.is_some()))),
        Err(why) if found.is_empty() => found.push(findings::no_socket(&why, named.is_some())),
        Err(_) => {}
    }
    found
}

/// Asks who listens there, if anybody does. None is started.
fn at_place(mut place: socket::Place, is_named: bool) -> Option<Finding> {
    let may_start = std::mem::replace(&mut place.may_start, false);
    match socket::connect(&place) {
        Err(error) if socket::is_absent(&error) => {
            return (is_named && !may_start).then(|| findings::no_gate_there(&place.socket));
        }
        Err(error) => return Some(findings::strange_gate(&format!("{}: {error}", place.socket.display()))),
        Ok(_) => {}
    }
    let hello = Hello {
        asks_only: true,
        protocol: PROTOCOL.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Hello::default()
    };
    match Link::open(&place, hello, gate::PATIENCE) {
        Ok(_) => None,
        Err(NoLink::Refused(why)) => {
            Some(findings::strange_gate(&format!("{}: {why}", place.socket.display())))
        }
        Err(NoLink::Absent(why)) => Some(findings::strange_gate(&why)),
    }
}

/// What the kernel still gives, beside its settings.
fn the_limits(root: &Path) -> Vec<Finding> {
    let setting = |name: &str| files::read_number(&root.join("sys/fs").join(name));
    let fresh = limits::size_of_a_new_pipe().map_err(|error| error.to_string());
    let mut found = findings::pipes(&fresh, setting("pipe-user-pages-soft"), setting("pipe-max-size"));
    if let Err(error) = limits::try_inotify() {
        found.push(findings::inotify(&error.to_string(), setting("inotify/max_user_instances")));
    }
    found
}

fn no_shims() -> Option<Finding> {
    shims::refused().map(|(folder, why)| findings::no_shims(&folder, &why.to_string()))
}

fn shims_on_path(shims: &Path) -> Option<Finding> {
    let path: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let are_there: Vec<&str> =
        NAMES.into_iter().filter(|name| tools::is_executable(&shims.join(name))).collect();
    let before = path.iter().take_while(|folder| *folder != shims);
    let behind: Vec<PathBuf> = before
        .flat_map(|folder| are_there.iter().map(|name| folder.join(name)))
        .filter(|file| tools::is_executable(file))
        .collect();
    // Nothing is missed where there are none.
    let is_inside = std::env::var_os(around::AUTH).is_some_and(|auth: OsString| !auth.is_empty());
    findings::shims(shims, &path, &behind, is_inside && !are_there.is_empty())
}

/// The tools as a table, and below it the findings.
fn draw(checkup: &Checkup) -> String {
    let mut text = String::new();
    if checkup.tools.is_empty() {
        text.push_str("no make, ninja, cargo or cmake here\n");
    } else {
        let row = |tool: &Tool| {
            let version = tool.version.clone().unwrap_or_else(|| "?".to_owned());
            [tool.path.clone(), version, tool.gets.clone(), tool.note.clone().unwrap_or_default()]
        };
        let heads = ["TOOL", "VERSION", "GETS", ""].map(str::to_owned);
        let rows: Vec<[String; 4]> = std::iter::once(heads).chain(checkup.tools.iter().map(row)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2)];
        for [path, version, gets, note] in &rows {
            let [path_width, version_width, gets_width] = widths;
            let line = format!("{path:path_width$}  {version:version_width$}  {gets:gets_width$}  {note}");
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text.push('\n');
    if checkup.findings.is_empty() {
        text.push_str("nothing found that would keep a build out of the gate\n");
    }
    for (at, Finding { what, mend, .. }) in checkup.findings.iter().enumerate() {
        let _ = writeln!(text, "{}. {what}\n   {mend}", at + 1);
    }
    text
}
