//! Programs' answers to `--version`, remembered from one run of ours to the next: to ask takes longer than all else that is
//! done before a build starts.
//!
//! Doesn't know how programs are asked, nor what follows from what they say.

use super::cache;
use crate::proto::versions::{LENGTH, Program, Versions};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file in the cache folder.
const FILE: &str = "versions.json";

/// What each of these programs says, in their order: those in `folder`'s file that are what they were when they were asked
/// say the same; the others are asked, each file once, and are in it from then on.
///
/// `ask` gets files in any order, and gives their answers in the same.
pub fn texts(
    folder: Option<&Path>,
    programs: impl Iterator<Item = PathBuf>,
    ask: impl FnOnce(&[&Path]) -> Vec<Option<Vec<u8>>>,
) -> Vec<Option<Vec<u8>>> {
    let files: Vec<PathBuf> = programs.map(|file| std::fs::canonicalize(&file).unwrap_or(file)).collect();
    let known = read(folder);
    let mut answers: BTreeMap<&Path, Vec<u8>> = BTreeMap::new();
    let mut unknown: Vec<(&Path, Option<Program>)> = Vec::new();
    for file in files.iter().map(PathBuf::as_path).collect::<BTreeSet<_>>() {
        let program = identify(file);
        match program.as_ref().and_then(|program| known.of(program)) {
            Some(says) => drop(answers.insert(file, says.as_bytes().to_vec())),
            None => unknown.push((file, program)),
        }
    }
    let asked = ask(&unknown.iter().map(|(file, _)| *file).collect::<Vec<_>>());
    let mut new: Vec<(Program, Vec<u8>)> = Vec::new();
    for ((file, program), answer) in unknown.into_iter().zip(asked) {
        let Some(mut answer) = answer else { continue };
        answer.truncate(LENGTH);
        // What was put in its place meanwhile may not be what has answered.
        let same = program.filter(|program| identify(file).as_ref() == Some(program));
        new.extend(same.map(|program| (program, answer.clone())));
        answers.insert(file, answer);
    }
    if let Some(folder) = folder {
        remember(folder, new);
    }
    files.iter().map(|file| answers.get(file.as_path()).cloned()).collect()
}

fn read(folder: Option<&Path>) -> Versions {
    folder.map(|folder| Versions::read(&cache::read(folder, FILE))).unwrap_or_default()
}

fn remember(folder: &Path, new: Vec<(Program, Vec<u8>)>) {
    if new.is_empty() {
        return;
    }
    // Others may have learned something while we asked.
    let mut versions = read(Some(folder));
    for (program, answer) in new {
        versions.remember(program, &answer);
    }
    cache::replace(folder, FILE, versions.text().as_bytes());
}

/// What tells a program from another one at the same path; `None` for what can't be remembered: a script above all, since
/// what it starts may change and it doesn't.
fn identify(file: &Path) -> Option<Program> {
    if !std::fs::metadata(file).ok()?.is_file() {
        return None; // a fifo would keep us waiting
    }
    let mut opened = File::open(file).ok()?;
    let meta = opened.metadata().ok()?;
    let mut start = [0; 4];
    opened.read_exact(&mut start).ok()?;
    let mtime_ns = meta.mtime().checked_mul(1_000_000_000)?.checked_add(meta.mtime_nsec())?;
    let program = Program { path: file.to_str()?.to_owned(), size: meta.len(), mtime_ns };
    (start == *b"\x7fELF").then_some(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::time::{Duration, SystemTime};

    const BINARY: &str = "\x7fELF and so on";

    /// A folder for the programs, with a cache folder in it.
    struct Place {
        folder: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Place {
            Place { folder: tempfile::tempdir().unwrap() }
        }

        fn cache(&self) -> PathBuf {
            self.folder.path().join("cache/jobgate")
        }

        fn file(&self) -> PathBuf {
            self.cache().join(FILE)
        }

        fn program(&self, name: &str, content: &str) -> PathBuf {
            let path = self.folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::canonicalize(path).unwrap()
        }

        /// What the programs say, and the names of those that had to be asked; they answer with their names and `version`.
        fn texts(&self, programs: &[&Path], version: &str) -> (Vec<String>, Vec<String>) {
            let asked = RefCell::new(Vec::new());
            let name = |file: &Path| file.file_name().unwrap().to_str().unwrap().to_owned();
            let answers = texts(Some(&self.cache()), programs.iter().map(PathBuf::from), |files| {
                asked.borrow_mut().extend(files.iter().map(|file| name(file)));
                files.iter().map(|file| Some(format!("{} {version}", name(file)).into())).collect()
            });
            let answers = answers.into_iter().map(|text| String::from_utf8(text.unwrap()).unwrap());
            (answers.collect(), asked.into_inner())
        }
    }

    fn set_mtime(file: &Path, time: SystemTime) {
        File::options().append(true).open(file).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn asked_once() {
        let place = Place::new();
        let (make, ninja) = (place.program("make", BINARY), place.program("ninja", BINARY));
        let none: [&str; 0] = [];
        let (said, asked) = place.texts(&[&make], "1");
        assert_eq!((said, asked), (vec!["make 1".into()], vec!["make".into()]));
        let (said, asked) = place.texts(&[&ninja, &make], "2");
        assert_eq!((said, asked), (vec!["ninja 2".into(), "make 1".into()], vec!["ninja".into()]));
        let written = std::fs::metadata(place.file()).unwrap();
        let (said, asked) = place.texts(&[&make, &ninja], "3");
        assert_eq!(said, ["make 1", "ninja 2"]);
        assert_eq!(asked, none);
        let left_alone = std::fs::metadata(place.file()).unwrap();
        assert_eq!(written.ino(), left_alone.ino(), "nothing was new");
    }

    #[test]
    fn a_file_of_several_names_is_asked_once_and_answers_for_each() {
        let place = Place::new();
        let (make, ninja) = (place.program("make", BINARY), place.program("ninja", BINARY));
        let gmake = place.folder.path().join("gmake");
        std::os::unix::fs::symlink(&make, &gmake).unwrap();
        let (said, asked) = place.texts(&[&ninja, &gmake, &make, &ninja], "1");
        assert_eq!(said, ["ninja 1", "make 1", "make 1", "ninja 1"]);
        assert_eq!(asked, ["make", "ninja"]);
    }

    #[test]
    fn asked_again_when_it_has_changed() {
        let place = Place::new();
        let make = place.program("make", BINARY);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        set_mtime(&make, time);
        assert_eq!(place.texts(&[&make], "1").0, ["make 1"]);
        set_mtime(&make, time + Duration::from_nanos(1));
        assert_eq!(place.texts(&[&make], "2").0, ["make 2"]);
        place.program("make", &format!("{BINARY}, longer"));
        set_mtime(&make, time + Duration::from_nanos(1));
        assert_eq!(place.texts(&[&make], "3").0, ["make 3"]);
        assert_eq!(place.texts(&[&make], "4").0, ["make 3"]);
        std::fs::remove_file(&make).unwrap();
        assert_eq!(place.texts(&[&make], "5").0, ["make 5"]);
    }

    #[test]
    fn scripts_are_asked_each_time() {
        let place = Place::new();
        for text in ["#!/bin/sh\nexec make", "exec make", "", "#!"] {
            let make = place.program("make", text);
            for version in ["1", "2"] {
                assert_eq!(place.texts(&[&make], version).0, [format!("make {version}")], "{text}");
            }
        }
        assert!(!place.cache().exists());
    }

    #[test]
    fn who_gives_no_answer_is_asked_again_and_keeps_nobody_from_being_remembered() {
        let place = Place::new();
        let (make, mute, odd) =
            (place.program("make", BINARY), place.program("mute", BINARY), place.program("odd", BINARY));
        let programs = [&mute, &make, &odd].map(PathBuf::clone);
        let answers = [Some(b"4.3".to_vec()), None, Some(b"\xff".to_vec())]; // in the order of their names
        let said = texts(Some(&place.cache()), programs.iter().cloned(), |_| answers.to_vec());
        assert_eq!(said, [answers[1].clone(), answers[0].clone(), answers[2].clone()]);
        let (said, asked) = place.texts(&[&mute, &make, &odd], "2");
        assert_eq!(said, ["mute 2", "4.3", "odd 2"]);
        assert_eq!(asked, ["mute", "odd"]);
    }

    #[test]
    fn a_long_answer_is_cut_in_the_same_way_when_it_is_new() {
        let place = Place::new();
        let make = place.program("make", BINARY);
        let long = "x".repeat(5000);
        let first = place.texts(&[&make], &long).0;
        assert_eq!(first, [format!("make {long}")[..LENGTH].to_owned()]);
        assert_eq!(place.texts(&[&make], "2").0, first);
    }

    #[test]
    fn what_a_program_was_before_it_changed_is_not_taken_to_have_answered() {
        let place = Place::new();
        let make = place.program("make", BINARY);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        set_mtime(&make, time);
        let said = texts(Some(&place.cache()), [make.clone()].into_iter(), |_| {
            place.program("make", &format!("{BINARY}, longer"));
            vec![Some(b"4.4".to_vec())]
        });
        assert_eq!(said, [Some(b"4.4".to_vec())]);
        place.program("make", BINARY);
        set_mtime(&make, time);
        assert_eq!(place.texts(&[&make], "4.3").0, ["make 4.3"]);
    }

    #[test]
    fn what_others_learn_meanwhile_is_kept() {
        let place = Place::new();
        let (make, ninja) = (place.program("make", BINARY), place.program("ninja", BINARY));
        texts(Some(&place.cache()), [make.clone()].into_iter(), |_| {
            place.texts(&[&ninja], "1");
            vec![Some(b"4.3".to_vec())]
        });
        assert_eq!(place.texts(&[&make, &ninja], "2").0, ["4.3", "ninja 1"]);
    }

    #[test]
    fn a_damaged_file_is_written_anew() {
        let place = Place::new();
        let make = place.program("make", BINARY);
        place.texts(&[&make], "1");
        let text = std::fs::read_to_string(place.file()).unwrap();
        for (version, damaged) in [("2", &text[..text.len() - 9]), ("3", "\0\0"), ("4", ""), ("5", "[]")] {
            std::fs::write(place.file(), damaged).unwrap();
            assert_eq!(place.texts(&[&make], version).0, [format!("make {version}")]);
            assert_eq!(place.texts(&[&make], "6").0, [format!("make {version}")]);
        }
    }

    #[test]
    fn without_a_folder_or_with_one_that_can_not_be_written_all_are_asked() {
        let place = Place::new();
        let make = place.program("make", BINARY);
        for folder in [None, Some(Path::new("/proc/self/jobgate")), Some(Path::new("/dev/null/jobgate"))] {
            for version in ["1", "2"] {
                let answer = vec![Some(version.as_bytes().to_vec())];
                let said = texts(folder, [make.clone()].into_iter(), |_| answer.clone());
                assert_eq!(said, answer, "{folder:?}");
            }
        }
    }

    #[test]
    fn who_writes_at_the_same_time_damages_nothing() {
        let place = Place::new();
        let programs: Vec<PathBuf> = (0..8).map(|n| place.program(&format!("make-{n}"), BINARY)).collect();
        let start = std::sync::Barrier::new(programs.len());
        std::thread::scope(|scope| {
            for program in &programs {
                let (place, start) = (&place, &start);
                scope.spawn(move || {
                    start.wait();
                    place.texts(&[program], "1");
                });
            }
        });
        let all: Vec<&Path> = programs.iter().map(PathBuf::as_path).collect();
        let (_, asked) = place.texts(&all, "2");
        assert!(asked.len() < programs.len(), "who wrote last is in it: {asked:?}");
        let entries = std::fs::read_dir(place.cache()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(entries.collect::<Vec<_>>(), [FILE]);
        assert_eq!(place.texts(&all, "3").1, Vec::<String>::new(), "and now all are");
    }
}
