//! What is the user's own: the programs that come first on his PATH, the modes of what is made for him, and what root does with
//! his variables.
//!
//! Doesn't know gates.

use super::scene::{House, Scene, Tool, set_mode};
use super::support::{self, finish, skipped};
use super::{assert_built, assert_untouched, owned_by, said};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// A program in a folder of the victim's, whose PREFIX is one that all may write to; and a folder for data that is the
/// hostile user's. Shims are what comes first on PATH.
pub fn programs_for_the_victim(house: &House) {
    let variables: [(&str, &[(&str, &str)]); 2] =
        [("beside", &[]), ("data", &[("XDG_DATA_HOME", "hostile/open")])];
    for (name, variables) in variables {
        let scene = Scene::new(house);
        let folder = scene.folder("shared/bin", house.users.honest, 0o755);
        std::fs::copy(house.program("jobgate"), folder.join("jobgate")).expect("it can be copied");
        let hostile = scene.hostile(name);
        let mut command = scene.command_of(house.users.honest, &folder.join("jobgate"));
        let script = "make --version >/dev/null && make --version >/dev/null && echo $PATH";
        command.args(["run", "-j2", "--", "sh", "-c", script]).env_remove("JOBGATE_SOCKET");
        command.env("HOME", scene.path("honest"));
        command.envs(variables.iter().map(|(variable, value)| (variable, scene.path(value))));
        let output = finish(&mut command);
        assert!(output.status.success() && said(&output).is_empty(), "{output:?}");
        let path = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!path.contains("shared/lib") && !path.contains("hostile"), "{path}");
        assert!(name == "data" || path.contains("honest/.local/share/jobgate/shims"), "{path}");
        assert_eq!(hostile.breaches(), Vec::<String>::new());
        assert_untouched(&scene);
    }
}

/// A program of the hostile user's that the victim runs today is kept as it is today; and what all may write to comes first on
/// nobody's PATH.
pub fn what_comes_first_on_path(house: &House) {
    let scene = Scene::new(house);
    let (honest, hostile) = (house.users.honest, house.users.hostile);
    let program = scene.path("hostile/jobgate");
    std::fs::copy(house.program("jobgate"), &program).expect("it can be copied");
    std::os::unix::fs::chown(&program, Some(hostile), None).expect("we are root");
    set_mode(&program, 0o777);
    let shims = || {
        let mut command = scene.command_of(honest, &program);
        let output =
            finish(command.arg("shims").env("HOME", scene.path("honest")).env_remove("JOBGATE_SOCKET"));
        (output.status.code(), said(&output))
    };
    assert_eq!(shims(), (Some(0), String::new()));
    let base = scene.path("honest/.local/share/jobgate/shims");
    let copy = std::fs::metadata(base.join(".jobgate")).expect("a copy");
    assert_eq!((copy.uid(), copy.mode() & 0o777), (honest, 0o755), "its own, which nobody else can change");
    set_mode(&base.join("sets/gmake+make"), 0o777);
    let (status, why) = shims();
    assert!(status == Some(125) && why.contains("writable for others"), "{why}");
}

/// What is made is for its user alone, whatever the umask, and is of use to him.
pub fn modes_and_umasks(house: &House) {
    for umask in ["000", "777"] {
        let scene = Scene::new(house);
        let around =
            ["sh".to_owned(), "-c".to_owned(), format!("umask {umask}; exec \"$@\""), "sh".to_owned()];
        let mut build = scene.build(Tool::Make, &["-j2"], "$JOBGATE exec -- true", &around);
        let mut build = build.env_remove("JOBGATE_SOCKET").spawn().expect("it starts");
        scene.await_first(&mut build);
        let own = format!("/tmp/jobgate-{}", house.users.honest);
        let mut seen: Vec<String> = Vec::new();
        for entry in std::fs::read_dir(&own).expect("it is there").flatten() {
            let (name, meta) = (entry.file_name(), entry.metadata().expect("it is there"));
            let name = name.to_str().expect("text").split('-').next().expect("a word").to_owned();
            assert_eq!((meta.mode() & 0o777, meta.uid()), (0o600, house.users.honest), "{umask}: {name}");
            seen.push(name);
        }
        seen.sort();
        assert_eq!(seen, ["run", "socket", "socket.lock", "tree"]);
        assert_eq!(std::fs::metadata(&own).expect("it is there").mode() & 0o777, 0o700, "{umask}");
        let output = scene.let_go(build);
        assert_built(&scene, &output, 2);
    }
}

/// Whoever starts it has said what stands in its environment.
pub fn set_user_id(house: &House) {
    let scene = Scene::new(house);
    let server = scene.serve("");
    let honest = house.users.honest;
    let folder = scene.folder("suid", 0, 0o755);
    for name in ["jobgate", ".jobgate"] {
        std::fs::copy(house.program("jobgate"), folder.join(name)).expect("it can be copied");
    }
    std::os::unix::fs::symlink(folder.join(".jobgate"), folder.join("make")).expect("a link");
    scene.file("suid/Makefile", "all:\n\t@echo in $$JOBGATE_AUTH\n", 0);
    let as_shim = || {
        let mut command = scene.command_of(honest, &folder.join("make"));
        let output =
            finish(command.args(["-s", "-j2"]).current_dir(&folder).env("HOME", scene.path("honest")));
        assert!(output.status.success() && said(&output).is_empty(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_ne!(as_shim(), "in\n", "a shim joins the gate");
    for name in ["jobgate", ".jobgate"] {
        set_mode(&folder.join(name), 0o4755);
    }
    let mut probe = scene.command_of(honest, &folder.join("jobgate"));
    let output = finish(probe.args(["run", "--", "id", "-u"]).env("HOME", scene.path("honest")));
    if output.stdout == format!("{honest}\n").as_bytes() {
        return skipped("set-user-ID has no effect where temporary files lie");
    }
    assert!(output.status.code() == Some(125) && said(&output).contains("set-user-ID"), "{output:?}");
    assert_eq!(as_shim(), "in\n", "it is the tool itself");
    server.end();
}

/// As below `sudo -E`: root leaves nothing in the user's folders, and runs nothing that he has put there.
pub fn root_with_the_users_variables(house: &House) {
    let scene = Scene::new(house);
    let honest = house.users.honest;
    let runtime = scene.folder("honest/runtime", honest, 0o700);
    // What he may have put there on purpose.
    let mut plants = scene.command_of(honest, Path::new("/bin/sh"));
    plants.current_dir(scene.path("honest")).env("MARK", scene.path("shared/mark"));
    plants.args([
        "-c",
        "for d in .local/share/jobgate/shims .local/share/jobgate/shims/sets/gmake+make; do mkdir -p $d; \
         for n in .jobgate make gmake; do printf '#!/bin/sh\\n>>%s\\n' $MARK >$d/$n; chmod 755 $d/$n; done; done; \
         mkdir .config; mkfifo .config/jobgate.toml",
    ]);
    assert!(finish(&mut plants).status.success());
    // Root's own home is no place for a test.
    let mut root = support::clean(Command::new("unshare"));
    root.args([
        "--mount",
        "sh",
        "-c",
        "mount -t tmpfs none /root && mount -t tmpfs -o mode=700 none /tmp/jobgate-0 && exec \"$@\"",
        "sh",
    ]);
    root.arg(house.program("jobgate")).args(["run", "-j2", "--", "sh", "-c", "make --version && echo $PATH"]);
    root.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", scene.path("honest"));
    root.env("XDG_RUNTIME_DIR", &runtime).env("TMPDIR", scene.path("honest/src"));
    let mut probe = Command::new("unshare");
    if !probe
        .args(["--mount", "mount", "-t", "tmpfs", "none", "/root"])
        .status()
        .is_ok_and(|status| status.success())
    {
        return skipped("no mount namespace can be had");
    }
    let _ = std::fs::create_dir("/tmp/jobgate-0");
    set_mode(Path::new("/tmp/jobgate-0"), 0o700);
    let output = finish(&mut root);
    assert!(output.status.success() && said(&output).is_empty(), "{output:?}");
    let path = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(path.contains("/root/.local/share/jobgate/shims"), "its own: {path}");
    assert_eq!(owned_by(&scene.path("honest"), 0), Vec::<String>::new());
    assert_untouched(&scene);
    // And the user goes on as before.
    let mut own = scene.command_of(honest, &house.program("jobgate"));
    own.args(["run", "-j2", "--", "true"]).env("HOME", scene.path("honest")).env("XDG_RUNTIME_DIR", &runtime);
    std::fs::remove_file(scene.path("honest/.config/jobgate.toml")).expect("it is there");
    let output = finish(own.env_remove("JOBGATE_SOCKET"));
    assert!(output.status.success() && said(&output).is_empty(), "{output:?}");
    assert!(runtime.join("jobgate").exists());
}
