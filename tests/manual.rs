//! What `jobgate pages` writes, as those read it for whom it is made: man, mandoc, bash, zsh, fish.
//!
//! Doesn't know what must stand in a page: that is a test beside the code.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{clean, finish, jobgate, succeed};

/// A folder in which all of it was written.
fn written() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let said = succeed(clean(Command::new(jobgate())).arg("pages").arg(folder.path()));
    assert_eq!(said, "");
    folder
}

fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("man/man1")).unwrap().flatten();
    let pages: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    assert!(pages.len() > 5, "{pages:?}");
    pages
}

/// The program, with its messages in English; `None` after a line that says SKIPPED.
fn program(name: &str) -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder.join(name).exists()) {
        support::skipped(&format!("there is no {name}"));
        return None;
    }
    let mut command = clean(Command::new(name));
    command.env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80").env_remove("MANROFFOPT");
    Some(command)
}

#[test]
fn nobody_who_formats_a_page_has_anything_to_say() {
    let folder = written();
    let rows: [&[&str]; 2] =
        [&["mandoc", "-Tlint", "-Wstyle"], &["man", "--warnings", "-E", "UTF-8", "-P", "true", "-l"]];
    for row in rows {
        for page in pages(folder.path()) {
            let Some(mut command) = program(row[0]) else { break };
            let output = finish(command.args(&row[1..]).arg(&page));
            // mandoc writes what it finds to its standard output, and man the page.
            let said = if row[0] == "man" { output.stderr } else { [output.stdout, output.stderr].concat() };
            let said = String::from_utf8_lossy(&said).into_owned();
            assert!(output.status.success() && said.is_empty(), "{row:?} {}: {said}", page.display());
        }
    }
}

#[test]
fn the_index_of_manuals_knows_each_page_by_its_name() {
    let folder = written();
    for page in pages(folder.path()) {
        let Some(mut command) = program("lexgrog") else { return };
        let name = page.file_stem().unwrap().to_str().unwrap();
        let said = succeed(command.arg(&page));
        assert!(said.contains(&format!("\"{name} - ")) && said.lines().count() == 1, "{said}");
    }
}

/// What bash offers for the last of these words.
fn offered(completions: &Path, words: &[&str]) -> Option<String> {
    let line = r#"source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
                  words=($(complete -p jobgate)); while [[ ${words[0]} != -F ]]; do words=("${words[@]:1}"); done
                  "${words[1]}" jobgate "${@: -1}" "${@: -2:1}"; echo "${COMPREPLY[*]}""#;
    let mut command = program("bash")?;
    command.args(["--norc", "-c", line, "bash"]).arg(completions).args(words);
    Some(succeed(&mut command).trim_end().to_owned())
}

#[test]
fn bash_offers_what_can_be_typed_and_nothing_that_is_hidden() {
    let folder = written();
    let completions = folder.path().join("bash-completion/completions/jobgate");
    let rows: [(&[&str], &str); 9] = [
        (&["jobgate", "st"], "status"),
        (&["jobgate", "pa"], ""),
        (&["jobgate", "run", "--max-c"], "--max-cpu"),
        (&["jobgate", "run", "--style", ""], "auto pipe fifo"),
        (&["jobgate", "serve", "--re"], "--ready-fd"),
        (&["jobgate", "serve", "--on"], ""),
        (&["jobgate", "exec", "-n", "2", "--", "readarra"], "readarray"),
        (&["jobgate", "run", "--", "make", "--"], ""),
        (&["jobgate", "run", "--l"], "--law --label"),
    ];
    for (words, expected) in rows {
        let Some(offered) = offered(&completions, words) else { return };
        assert_eq!(offered, expected, "{words:?}");
    }
    // Where bash-completion is there, it knows what that command can be told.
    let with_it = folder.path().join("with-it");
    let text =
        format!("_command_offset() {{ COMPREPLY=(\"at $1\"); }}; source '{}'\n", completions.display());
    std::fs::write(&with_it, text).unwrap();
    assert_eq!(offered(&with_it, &["jobgate", "run", "-j2", "--", "make", "a"]).as_deref(), Some("at 4"));
}

#[test]
fn the_other_shells_can_read_theirs() {
    let folder = written();
    for (shell, file) in
        [("zsh", "zsh/site-functions/_jobgate"), ("fish", "fish/vendor_completions.d/jobgate.fish")]
    {
        let file = folder.path().join(file);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("doctor") && !text.contains("on-demand") && !text.contains("pages"), "{shell}");
        if let Some(mut command) = program(shell) {
            succeed(command.arg("-n").arg(&file));
        }
    }
}

#[test]
fn what_cannot_be_written_is_said() {
    let output = finish(clean(Command::new(jobgate())).args(["pages", "/dev/null/share"]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(125), "{said}");
    let sentence = "jobgate: can't write '/dev/null/share/man/man1/";
    assert!(said.starts_with(sentence) && said.lines().count() == 1, "{said}");
}
