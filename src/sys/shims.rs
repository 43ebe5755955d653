//! The folder of shims: what stands for make and ninja on PATH, each a link to one copy of this program beside them.
//!
//! Doesn't know what a shim does. A copy, so that a build tree that has stored a shim's path (cmake, configure) goes on working
//! when this program is moved, renewed or removed; a link, so that one file is renewed for all.

use super::again::again;
use super::guarded::{self, Groups};
use super::users;
use nix::sys::stat::Mode;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What stands there; the folder `shims` of the sources has the same.
pub const NAMES: [&str; 6] = ["make", "gmake", "ninja", "ninja-build", "samu", BITBAKE];

/// The one that stands for a whole build.
pub const BITBAKE: &str = "bitbake";

/// The copy that they lead to. It isn't called `jobgate`, for the folder comes first on PATH.
const COPY: &str = ".jobgate";

/// What is made there.
const FOR_ALL_TO_SEE: Mode = Mode::from_bits_truncate(0o755);

/// In a user's data.
const PLACE: &str = "jobgate/shims";

/// Which shim this process was started as, by the file's name: a caller may pass anything as `argv[0]`.
pub fn called_as() -> Option<String> {
    let path = called_path()?;
    let name = path.file_name()?.to_str()?;
    let is_listed = || name != COPY && own_name().as_deref() == Some(OsStr::new(COPY));
    (NAMES.contains(&name) || is_listed()).then(|| name.to_owned())
}

/// The path that was executed.
fn called_path() -> Option<&'static Path> {
    // SAFETY: getauxval(3) takes a number; the kernel puts a C string there that lives as long as the process.
    let name = unsafe {
        let text = libc::getauxval(libc::AT_EXECFN) as *const libc::c_char;
        if text.is_null() {
            return None;
        }
        std::ffi::CStr::from_ptr(text)
    };
    Some(Path::new(OsStr::from_bytes(name.to_bytes())))
}

fn own_name() -> Option<OsString> {
    fs::canonicalize("/proc/self/exe").ok()?.file_name().map(OsStr::to_owned)
}

/// Whether the file, or what it leads to, is a shim or jobgate itself.
pub fn is_shim(file: &Path) -> bool {
    let Ok(real) = fs::canonicalize(file) else { return false };
    let name = real.file_name().unwrap_or_default();
    let is_this =
        || matches!((identity(&real), identity(Path::new("/proc/self/exe"))), (Some(a), Some(b)) if a == b);
    name == COPY || name == "jobgate" || is_this()
}

/// Whether the process is a shim that serves its tool.
pub fn is_one(pid: i32) -> bool {
    let file = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    // Renewed meanwhile, it has " (deleted)" behind its name.
    file.file_name().is_some_and(|name| name.as_bytes().starts_with(COPY.as_bytes()))
}

fn identity(file: &Path) -> Option<(u64, u64)> {
    fs::metadata(file).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Where the copy lies, with one folder of shims for each set of tools below it: `PREFIX/lib/jobgate/shims` of an installed
/// program, which holds all of them itself, else below the user's data (`$XDG_DATA_HOME`, `~/.local/share`). `None`: there is no such
/// place.
pub fn folder() -> Option<PathBuf> {
    installed().or_else(of_the_user)
}

/// The folder that was put there with this program, and is renewed with it.
fn installed() -> Option<PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(look_for_installed).clone()
}

fn look_for_installed() -> Option<PathBuf> {
    let exe = fs::canonicalize("/proc/self/exe").ok()?;
    let own = exe.parent()?;
    if exe.file_name() == Some(OsStr::new(COPY)) {
        return Some(own.to_owned());
    }
    let folder = own.parent()?.join("lib/jobgate/shims");
    // It comes first on PATH: nobody must have put it there but who administers programs.
    let is_one = folder.join(COPY).exists() && guarded::is_closed(&folder, Groups::OfPrograms);
    is_one.then_some(folder)
}

/// In the user's data, as the variables name it. Below `sudo` they may name another user's, who could put other programs there,
/// and couldn't write to what root has made: then in the home that we have by right.
fn of_the_user() -> Option<PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(look_for_the_users).clone()
}

fn look_for_the_users() -> Option<PathBuf> {
    let named = named_by_variables()?;
    if guarded::could_be(&named) {
        return Some(named);
    }
    let home = users::home()?.join(".local/share").join(PLACE);
    guarded::could_be(&home).then_some(home)
}

fn named_by_variables() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let data = variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")))?;
    Some(data.join(PLACE))
}

/// The folder to put on PATH as that is now, whether it is there or not: it holds the shims of those tools alone that PATH has,
/// of those we know and those that are `listed`. (Who looks whether there is a ninja must not find the stand-in of one.) The same
/// tools have the same folder for ever. `None`: there is no place for it, or no tool.
pub fn for_path(listed: &[String]) -> Option<PathBuf> {
    folder_of(&tools_on_path(listed))
}

fn folder_of(tools: &[(String, PathBuf)]) -> Option<PathBuf> {
    let has_just_those = |folder: &PathBuf| {
        let mut known = NAMES.iter().filter(|name| folder.join(name).exists());
        let is_wanted = |name: &&str| tools.iter().any(|(other, _)| other == name);
        known.clone().count() == tools.len() && known.all(is_wanted)
    };
    if tools.is_empty() {
        return None;
    }
    let set = tools.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join("+");
    installed().filter(has_just_those).or_else(|| Some(of_the_user()?.join("sets").join(set)))
}

/// Each tool that PATH has, by its name, and where it lies; sorted.
fn tools_on_path(listed: &[String]) -> Vec<(String, PathBuf)> {
    let names = NAMES.iter().map(|name| (*name).to_owned()).chain(listed.iter().cloned());
    let names: std::collections::BTreeSet<String> = names.collect();
    let first = |name: String| {
        let tool = super::tools::on_path(OsStr::new(&name)).into_iter().next()?;
        Some((name, tool))
    };
    names.into_iter().filter_map(first).collect()
}

const NO_PLACE: &str = "no place (neither HOME nor XDG_DATA_HOME is set), or no tool on PATH";

/// Whether there is no place, and nobody could want one: it isn't that something can't be made.
pub fn is_no_place(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other && error.to_string() == NO_PLACE
}

/// Sees that the folder of `for_path` is there and leads to this very program, and gives it. The error names what can't be made.
///
/// A shim changes nothing there: it stands for the program that has put it there.
pub fn install(listed: &[String]) -> io::Result<PathBuf> {
    let missing = || io::Error::other(NO_PLACE);
    let tools = tools_on_path(listed);
    let folder = folder_of(&tools).ok_or_else(missing)?;
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
    let copy = match installed() {
        Some(installed) if installed == folder => return Ok(folder),
        Some(installed) => installed.join(COPY),
        None => {
            let base = of_the_user().ok_or_else(missing)?;
            if !is_current(&base.join(COPY)) {
                put_copy(&base).map_err(named)?;
            }
            base.join(COPY)
        }
    };
    let leads_to = |name: &str, target: &Path| fs::read_link(folder.join(name)).is_ok_and(|to| to == target);
    if !tools.iter().all(|(name, _)| leads_to(name, &copy)) {
        put_links(&folder, &copy, &tools).map_err(named)?;
    }
    for (name, tool) in tools.iter().filter(|(_, tool)| tool.is_absolute()) {
        // Errors are no matter: it is only what is left where nothing else is found.
        if !leads_to(&remembered(name), tool) {
            let _ = place(&folder, &remembered(name), |to| symlink(tool, to));
        }
    }
    // It comes first on PATH.
    guarded::open_own(&folder).map_err(named)?;
    Ok(folder)
}

/// Why what the variables name can't hold them, where it may not.
pub fn refused() -> Option<(PathBuf, io::Error)> {
    let named = named_by_variables()?;
    let why = guarded::open_folder(&named, Groups::Private).err()?;
    (why.kind() != io::ErrorKind::NotFound).then_some((named, why))
}

fn is_current(copy: &Path) -> bool {
    let (Ok(ours), Ok(its)) = (fs::metadata("/proc/self/exe"), fs::metadata(copy)) else { return false };
    (ours.dev(), ours.ino()) == (its.dev(), its.ino())
        || (ours.len(), ours.modified().ok()) == (its.len(), its.modified().ok())
}

/// Gives what `make` makes its name once it is whole: builds go on meanwhile, and others may be doing the same.
fn place(folder: &Path, name: &str, make: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let unnamed = folder.join(format!("{COPY}.{}", std::process::id()));
    let _ = fs::remove_file(&unnamed);
    let placed = make(&unnamed).and_then(|()| fs::rename(&unnamed, folder.join(name)));
    // Also where that went well: of two links to one file rename(2) leaves both, and somebody may have put the same there.
    let _ = fs::remove_file(&unnamed);
    placed
}

fn put_copy(base: &Path) -> io::Result<()> {
    guarded::make_folder(base, FOR_ALL_TO_SEE, Groups::Private)?;
    let exe = fs::read_link("/proc/self/exe")?;
    let link = |to: &Path| fs::hard_link(&exe, to).and_then(|()| check_same(to));
    place(base, COPY, |to| link(to).or_else(|_| copy(to)))
}

fn put_links(folder: &Path, copy: &Path, tools: &[(String, PathBuf)]) -> io::Result<()> {
    guarded::make_folder(folder, FOR_ALL_TO_SEE, Groups::Private)?;
    tools.iter().try_for_each(|(name, _)| place(folder, name, |to| symlink(copy, to)))
}

/// The path of what is running may be another file's by now; and of somebody else's program we keep no more than what it is now.
fn check_same(file: &Path) -> io::Result<()> {
    let is_ours =
        |meta: fs::Metadata| (meta.uid() == 0 || users::is_own(meta.uid())) && meta.mode() & 0o002 == 0;
    if identity(file) == identity(Path::new("/proc/self/exe")) && fs::metadata(file).is_ok_and(is_ours) {
        return Ok(());
    }
    fs::remove_file(file)?;
    Err(io::Error::from(io::ErrorKind::NotFound))
}

fn copy(to: &Path) -> io::Result<()> {
    let mut from = fs::File::open("/proc/self/exe")?;
    let mut file = fs::File::create_new(to)?;
    again(|| io::copy(&mut from, &mut file))?;
    let meta = from.metadata()?;
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    // By which the next one sees that nothing has to be done.
    file.set_modified(meta.modified()?)
}

/// PATH with the folder first; `None` where it is first already, or where no PATH is set.
pub fn path_with(folder: &Path) -> Option<OsString> {
    let path = std::env::var_os("PATH")?;
    if std::env::split_paths(&path).next().is_some_and(|first| first == folder) {
        return None;
    }
    // A folder with a colon in it can't stand there.
    std::env::join_paths([folder]).ok().map(|mut first| {
        first.push(":");
        first.push(path);
        first
    })
}

/// PATH without our folders; `None` where no PATH is set.
pub fn path_without() -> Option<OsString> {
    let path = std::env::var_os("PATH")?;
    let bases: Vec<PathBuf> =
        installed().into_iter().chain(of_the_user()).chain(named_by_variables()).collect();
    let is_ours = |folder: &PathBuf| bases.iter().any(|base| folder.starts_with(base));
    std::env::join_paths(std::env::split_paths(&path).filter(|folder| !is_ours(folder))).ok()
}

/// What leads to the tool that a shim last stood for.
fn remembered(name: &str) -> String {
    format!(".{name}.tool")
}

/// The tool that a shim called `name` stands for: the next on PATH behind the last that is this very shim, or the first where
/// there is none; else the system's; else the one that it stood for when its folder was last put on PATH, for who has stored its
/// path (cmake) comes back without that. Never a shim.
pub fn real(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = identity(Path::new("/proc/self/exe"));
    let files: Vec<PathBuf> = std::env::split_paths(&path).map(|folder| folder.join(name)).collect();
    let behind = files.iter().rposition(|file| own.is_some() && identity(file) == own).map_or(0, |at| at + 1);
    let system = super::tools::DEFAULT_PATH.split(':').map(|folder| Path::new(folder).join(name));
    let stored = called_path().and_then(|path| fs::read_link(path.parent()?.join(remembered(name))).ok());
    let mut files = files.into_iter().skip(behind).chain(system).chain(stored);
    files.find(|file| super::tools::is_executable(file) && !is_shim(file))
}
