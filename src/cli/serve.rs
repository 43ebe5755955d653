//! `jobgate serve`: the shared gate, in the foreground, as a service, or started on demand by a client.
//!
//! Doesn't know what is served.

use super::args::ServeArgs;
use super::settings::{GateWishes, typed};
use super::{Failure, gate};
use crate::policy::gate::Threshold;
use crate::policy::pressure::Resource;
use crate::policy::regulator::Wants;
use crate::proto::config::{self, Config, Jobs, Listed};
use crate::proto::status::hold_name;
use crate::proto::values::{Scope, law_name, reserve_text, scope_text};
use crate::server::settings::{Layer, entry, scope_of};
use crate::server::{Base, Kind, Server};
use crate::sys::cache;
use crate::sys::machine::Machine;
use crate::sys::on_demand;
use crate::sys::say::say;
use crate::sys::scribe::Scribe;
use crate::sys::service::{self, Systemd};
use crate::sys::{descriptor, files, socket, users};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::listed::OF_THE_HOST as CONFIG;

/// Serves until it is ended.
pub fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let proc_root = args.gate.proc.clone().unwrap_or_else(|| PathBuf::from("/proc"));
    let socket = gate::named(args.socket.as_deref());
    let failed = |what: &str, error: std::io::Error| Failure(format!("{what}: {error}"));
    if args.on_demand {
        let socket = socket.ok_or(Failure("--on-demand needs a --socket".to_owned()))?;
        let listener = on_demand::given_listener().map_err(|error| failed("no listening socket", error))?;
        let kind = Kind::OnDemand { recovering: args.recovering };
        let name = Name::of(&socket);
        let mut server =
            Server::new(listener, socket, proc_root, kind).map_err(|error| failed("can't serve", error));
        if let (Ok(server), Some(folder)) = (&mut server, cache::folder(|name| std::env::var_os(name))) {
            server.remember_sizes_in(folder);
        }
        return name.unless_served(server)?.serve().map_err(|error| failed("can't serve", error));
    }
    let systemd = Box::new(Systemd::take().map_err(|error| Failure(error.to_string()))?);
    let wishes = GateWishes::read(&args.gate, |name| std::env::var_os(name))?;
    wishes.warnings.iter().for_each(|warning| say(warning));
    let typed = typed(&args.gate, &wishes);
    let file = args.config.clone();
    let root = proc_root.clone();
    let reload = Box::new(move || read_base(file.as_deref(), &typed, &root));
    let base = reload()?;
    let journal = args.journal.as_deref().map(Scribe::into_folder).transpose();
    let journal = journal.map_err(|why| Failure(format!("--journal {why}")))?;
    let given = service::inherited_listener().map_err(|error| Failure(error.to_string()))?;
    let unbinds = given.is_none();
    let (listener, socket, recovering) = match given {
        Some(listener) => {
            let path = listener.local_addr().ok().and_then(|address| Some(address.as_pathname()?.to_owned()));
            // A socket that was there before us may have had another server, which died.
            (listener, path.or(socket).unwrap_or_default(), true)
        }
        None => listen(socket, &base)?,
    };
    let kind = Kind::Service { base, reload, unbinds, recovering, systemd };
    let name = if unbinds { Name::of(&socket) } else { Name::none() };
    let server = Server::new(listener, socket, proc_root, kind).map_err(|error| failed("can't serve", error));
    let server = server.and_then(|mut server| {
        if let (Some(folder), Some(scribe)) = (&args.journal, journal) {
            let kept = server.keep_journal(folder.clone(), scribe);
            kept.map_err(|error| failed(&format!("--journal {}", folder.display()), error))?;
        }
        // What systemd keeps for a service (systemd.exec(5)).
        if let Some(folder) = std::env::var_os("CACHE_DIRECTORY") {
            server.remember_sizes_in(folder.into());
        }
        let Some(number) = args.ready_fd else { return Ok(server) };
        let ready = descriptor::own_inherited(number).and_then(|fd| descriptor::write_line(fd, "ready"));
        ready.map(|()| server).map_err(|error| failed(&format!("--ready-fd {number}"), error))
    });
    name.unless_served(server)?.serve().map_err(|error| failed("can't serve", error))
}

/// A socket's name, which is taken away where nobody comes to serve it.
struct Name(PathBuf, Option<(u64, u64)>);

impl Name {
    fn of(socket: &Path) -> Name {
        Name(socket.to_owned(), socket::identity(socket))
    }

    /// It is somebody else's to take away.
    fn none() -> Name {
        Name(PathBuf::new(), None)
    }

    fn unless_served(self, server: Result<Server, Failure>) -> Result<Server, Failure> {
        if server.is_err() && self.1.is_some() {
            let _lock = socket::lock(&self.0, Duration::from_millis(100));
            socket::unbind(&self.0, self.1);
        }
        server
    }
}

/// Listens where it was said, or where clients look; and whether another server was there and left its socket.
fn listen(named: Option<PathBuf>, base: &Base) -> Result<(UnixListener, PathBuf, bool), Failure> {
    // Whom the configuration lets in the socket must let in; it is looked at each time who it is.
    let is_open = !base.users.is_empty() || !base.groups.is_empty();
    let Some(place) = socket::place_to_serve(named.as_deref(), is_open)? else {
        return Err(Failure("there is no folder for a socket: give --socket".to_owned()));
    };
    let path = place.socket;
    let failed = |error: std::io::Error| Failure(format!("can't listen at {}: {error}", path.display()));
    let lock = socket::lock(&path, Duration::from_secs(1)).map_err(failed)?;
    match socket::dial(&path) {
        Ok(_) => return Err(Failure(format!("a gate is running at {} already", path.display()))),
        Err(error) if socket::is_absent(&error) => {}
        // There may be one.
        Err(error) => return Err(failed(error)),
    }
    let died = socket::identity(&path).is_some();
    let listener = socket::bind(&path, socket::mode_for(&path, is_open)).map_err(failed)?;
    drop(lock);
    Ok((listener, path, died))
}

/// The file, if there is one, and above it what was typed. The error names file and line.
fn read_base(file: Option<&Path>, typed: &Layer, proc_root: &Path) -> Result<Base, String> {
    let path = file.unwrap_or(Path::new(CONFIG));
    let name = path.display();
    let mut base = Base::default();
    match files::read_text(path) {
        Ok(text) => {
            let (config, warnings) =
                config::parse(&text).map_err(|fault| format!("{name}:{}: {}", fault.line, fault.what))?;
            warnings.iter().for_each(|warning| say(&format!("{name}: {warning}")));
            base = from_config(&config, path)?;
        }
        Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(format!("{name}: {error}")),
    }
    base.layer.extend(typed.clone());
    if let scope @ Scope::Cgroup(_) = scope_of(&base.layer) {
        Machine::open(proc_root, &scope, Wants::default()).map_err(|why| format!("scope: {why}"))?;
    }
    Ok(base)
}

fn from_config(config: &Config, path: &Path) -> Result<Base, String> {
    let from = path.display().to_string();
    let mut base = Base::default();
    let mut note = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            base.layer.insert(key.to_owned(), entry(value, from.clone()));
        }
    };
    note(
        "jobs",
        config.jobs.map(|jobs| match jobs {
            Jobs::Auto => "auto".to_owned(),
            Jobs::Count(count) => count.to_string(),
        }),
    );
    for resource in Resource::ALL {
        let max = config.thresholds.get(resource).map(Threshold::us_per_second);
        note(&format!("max-{}", resource.name()), max.map(|max| max.to_string()));
    }
    note("max-load", config.max_load.map(|load| load.to_string()));
    note("law", config.law.kind.map(|law| law_name(law).to_owned()));
    note("min-available", config.law.min_available.map(reserve_text));
    note("freeze-on-thrash", config.law.freeze_on_thrash.map(|on| if on { "on" } else { "off" }.to_owned()));
    note("scope", config.law.scope.as_ref().map(scope_text));
    note("hold", config.hold.map(|hold| hold_name(hold).to_owned()));
    note("heartbeat", config.heartbeat.map(|beat| beat.as_secs_f64().to_string()));
    note("max-wait", config.max_wait.map(|wait| wait.as_secs_f64().to_string()));
    let at = |listed: &Listed, why: String| format!("{from}:{}: {why}", listed.line);
    let uid = |listed: &Listed| users::uid_of(&listed.name).map_err(|why| at(listed, why));
    let gid = |listed: &Listed| users::gid_of(&listed.name).map_err(|why| at(listed, why));
    base.users = config.access.users.iter().map(uid).collect::<Result<_, _>>()?;
    base.groups = config.access.groups.iter().map(gid).collect::<Result<_, _>>()?;
    for (listed, quota) in &config.quota.users {
        let uid = uid(listed)?;
        if base.quota.iter().any(|&(known, _)| known == uid) {
            return Err(at(listed, format!("user {uid} has two quotas")));
        }
        base.quota.push((uid, *quota));
    }
    base.quota_of_others = config.quota.default;
    (base.connections, base.max_weight) = (config.connections, config.max_weight);
    Ok(base)
}
