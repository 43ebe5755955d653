//! Faults of the system in front of jobgate: a small library (`faults/interpose.c`) that lets one call fail, or come short, at one
//! place in the program, and what is known of these places.
//!
//! Doesn't know what is run below it (`scenes`), nor what may come of a fault (`stage`).

pub mod scenes;
pub mod sites;
pub mod stage;

use super::{jobgate, skipped};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: the sites that are come by are written down.
    None,
    /// The call at this site fails so, once in each process, or always.
    Fail { site: u64, error: i32, always: bool },
    /// What is read and written at this site moves a byte at a time.
    Short { site: u64 },
    /// Every call that may be interrupted is: the first time, or every second time.
    Interrupted { each_second: bool },
}

/// The library, built for this test, and the map of the program by which it knows jobgate's own code.
pub struct Kit {
    library: PathBuf,
    own: PathBuf,
    /// First address, end, name; sorted.
    functions: Vec<(u32, u32, String)>,
    depth: u32,
    /// The functions of other libraries that the program calls, and those that ours stands in front of.
    pub imported: Vec<String>,
    /// See above.
    pub wrapped: Vec<String>,
}

impl Kit {
    /// Builds both; `None` after a line that says SKIPPED where the machine has no compiler. `depth`: how far sites are told apart.
    pub fn build(depth: u32) -> Option<Kit> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/faults/interpose.c");
        // Not in the place of one that a test beside this one has loaded.
        let new = folder.join(format!("faults-{}.so", std::process::id()));
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&new).arg(source);
        match cc.output() {
            Err(error) => {
                skipped(&format!("no C compiler: {error}"));
                return None;
            }
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        }
        let library = folder.join("faults.so");
        std::fs::rename(&new, &library).expect("it can be put there");
        let functions = functions();
        assert!(functions.len() > 500, "the program has symbols: {}", functions.len());
        let own = folder.join("faults.own");
        let bytes = functions.iter().filter(|(_, _, name)| is_own(name));
        let bytes = bytes.flat_map(|(first, end, _)| [first.to_ne_bytes(), end.to_ne_bytes()].concat());
        std::fs::write(&own, bytes.collect::<Vec<u8>>()).expect("the map can be written");
        let imported = symbols("--undefined-only", Path::new(jobgate()));
        let wrapped = symbols("--defined-only", &library);
        Some(Kit { library, own, functions, depth, imported, wrapped })
    }

    /// The variables by which a command has this fault. Only what is started with the library (`$FAULTS`) as LD_PRELOAD has it.
    /// `notes`: where sites, or hits, are written down.
    pub fn set(&self, command: &mut Command, fault: Fault, notes: &Path) {
        command.env("FAULTS", &self.library).env("FAULTS_PROGRAM", jobgate()).env("FAULTS_OWN", &self.own);
        command.env("FAULTS_DEPTH", self.depth.to_string());
        let site = |command: &mut Command, site: u64| {
            command.env("FAULTS_SITE", format!("{site:x}")).env("FAULTS_HITS", notes);
        };
        match fault {
            Fault::None => drop(command.env("FAULTS_SITES", notes)),
            Fault::Fail { site: at, error, always } => {
                site(command, at);
                command.env("FAULTS_ERRNO", error.to_string());
                if always {
                    command.env("FAULTS_ALWAYS", "1");
                }
            }
            Fault::Short { site: at } => {
                site(command, at);
                command.env("FAULTS_SHORT", "1");
            }
            Fault::Interrupted { each_second } => {
                command.env("FAULTS_EINTR", if each_second { "second" } else { "first" });
            }
        }
    }

    /// The function in which an address lies.
    pub fn name_of(&self, address: u32) -> &str {
        let at = self.functions.partition_point(|&(first, _, _)| first <= address);
        let found = at.checked_sub(1).map(|at| &self.functions[at]).filter(|(_, end, _)| address < *end);
        found.map_or("?", |(_, _, name)| name)
    }

    /// The source lines of these addresses, for one who has to look there.
    pub fn lines_of(&self, addresses: &[u32]) -> Vec<String> {
        let mut tool = Command::new("addr2line");
        tool.args(["-s", "-e", jobgate()]).args(addresses.iter().map(|address| format!("{address:x}")));
        let text = tool.output().map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }
}

/// Whether a function is jobgate's own, and not of a library that is linked in, nor one that only calls what it is told to.
pub fn is_own(name: &str) -> bool {
    (name.starts_with("jobgate::") || name.starts_with("<jobgate::"))
        && !name.starts_with("jobgate::sys::again::")
}

/// The program's functions, as nm(1) tells them.
fn functions() -> Vec<(u32, u32, String)> {
    let output =
        Command::new("nm").args(["-C", "-S", "--defined-only", jobgate()]).output().expect("nm runs");
    let text = String::from_utf8(output.stdout).expect("names are text");
    let mut functions: Vec<(u32, u32, String)> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.splitn(4, ' ');
            let (first, size) = (words.next()?, words.next()?);
            let (kind, name) = (words.next()?, words.next()?);
            let first = u32::from_str_radix(first, 16).ok().filter(|_| matches!(kind, "t" | "T"))?;
            Some((first, first + u32::from_str_radix(size, 16).ok()?, name.to_owned()))
        })
        .collect();
    functions.sort();
    functions
}

/// The dynamic symbols of a file, without their versions.
fn symbols(which: &str, file: &Path) -> Vec<String> {
    let output = Command::new("nm").args(["-D", which]).arg(file).output().expect("nm runs");
    let text = String::from_utf8(output.stdout).expect("names are text");
    let name = |line: &str| Some(line.split_whitespace().last()?.split('@').next()?.to_owned());
    text.lines().filter_map(name).collect()
}
