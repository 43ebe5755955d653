//! The bitbake layer, which this program carries: put beside the shims, where bitbake reads it.
//!
//! Doesn't know what stands in its files, but for the one that names its folder.

use super::guarded::{self, Groups};
use nix::sys::stat::Mode;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The files, by their places in the layer.
const FILES: [(&str, &str); 4] = [
    ("conf/layer.conf", include_str!("../../shims/bitbake-layer/conf/layer.conf")),
    (CONFIGURATION, include_str!("../../shims/bitbake-layer/conf/jobgate.conf")),
    ("classes/jobgate.bbclass", include_str!("../../shims/bitbake-layer/classes/jobgate.bbclass")),
    ("lib/jobgate_bitbake.py", include_str!("../../shims/bitbake-layer/lib/jobgate_bitbake.py")),
];

const CONFIGURATION: &str = "conf/jobgate.conf";

/// Stands for the layer's own folder.
const FOLDER: &str = "@LAYER@";

/// Sees that the layer lies beside the folder of `shims`, as this program has it, and gives the configuration that brings it into
/// a build. The error names what can't be written.
pub fn install(shims: &Path) -> io::Result<PathBuf> {
    let layer = shims.parent().unwrap_or(shims).join("bitbake-layer");
    let folder = layer.to_str().ok_or(io::ErrorKind::InvalidInput)?;
    for (name, text) in FILES {
        put(&layer.join(name), &text.replace(FOLDER, folder))?;
    }
    Ok(layer.join(CONFIGURATION))
}

/// Nothing is written where it stands there already: its time of change is part of what bitbake compares.
fn put(file: &Path, text: &str) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    if fs::read_to_string(file).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let folder = file.parent().unwrap_or(file);
    // bitbake runs what stands there: whatever our umask, nobody else may write to it.
    guarded::make_folder(folder, Mode::from_bits_truncate(0o755), Groups::OfPrograms).map_err(named)?;
    let unnamed = folder.join(format!(".new.{}", std::process::id()));
    let _ = fs::remove_file(&unnamed);
    let write = || {
        let mut new = fs::File::create_new(&unnamed)?;
        new.set_permissions(PermissionsExt::from_mode(0o644))?;
        new.write_all(text.as_bytes())?;
        fs::rename(&unnamed, file)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&unnamed);
        named(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_beside_the_shims_and_is_written_once() {
        let root = tempfile::tempdir().unwrap();
        let shims = root.path().join("jobgate/shims");
        let configuration = install(&shims).unwrap();
        let layer = root.path().join("jobgate/bitbake-layer");
        assert_eq!(configuration, layer.join("conf/jobgate.conf"));
        let text = fs::read_to_string(&configuration).unwrap();
        assert!(text.contains(&format!("BBPATH .= \":{}\"", layer.display())) && !text.contains(FOLDER));
        let time = |name: &str| fs::metadata(layer.join(name)).unwrap().modified().unwrap();
        let before = FILES.map(|(name, _)| time(name));
        fs::write(layer.join("conf/layer.conf"), "old").unwrap();
        install(&shims).unwrap();
        assert_eq!(FILES.map(|(name, _)| time(name))[1..], before[1..]);
        assert_ne!(fs::read_to_string(layer.join("conf/layer.conf")).unwrap(), "old");
    }
    #[test]
    fn nobody_else_writes_to_what_bitbake_runs() {
        let root = tempfile::tempdir().unwrap();
        let shims = root.path().join("jobgate/shims");
        install(&shims).unwrap();
        let layer = root.path().join("jobgate/bitbake-layer");
        for name in FILES.iter().map(|file| file.0).chain(["", "conf", "lib"]) {
            let mode = fs::metadata(layer.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o022, 0, "{name}");
        }
        fs::write(layer.join("lib/jobgate_bitbake.py"), "planted").unwrap();
        fs::set_permissions(root.path().join("jobgate"), PermissionsExt::from_mode(0o777)).unwrap();
        let why = install(&shims).unwrap_err().to_string();
        assert!(why.contains("writable for others"), "{why}");
    }
}
