//! What programs answered when they were asked for their versions, as the text of a file, and back.
//!
//! Doesn't know where that file lies, nor whether a program is still what it was: who asks says what it is now.

use serde::{Deserialize, Serialize};

/// How much of an answer is kept: more than any version, less than a program's whole help.
pub const LENGTH: usize = 256;

/// How many programs are remembered: the newest.
const MOST: usize = 200;

/// Of the file's form. One of another form is as good as none.
const FORM: u32 = 1;

/// A program as it was when it was asked: another one at the same path differs in size or time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Absolute, and free of links.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// When it was last changed, in nanoseconds since 1970.
    pub mtime_ns: i64,
}

/// The answers of programs, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    form: u32,
    programs: Vec<Answer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    #[serde(flatten)]
    program: Program,
    says: String,
}

impl Default for Versions {
    fn default() -> Versions {
        Versions { form: FORM, programs: Vec::new() }
    }
}

impl Versions {
    /// Reads a file; one that isn't ours, or is damaged, remembers nothing.
    pub fn read(file: &[u8]) -> Versions {
        let versions: Versions = serde_json::from_slice(file).unwrap_or_default();
        if versions.form == FORM { versions } else { Versions::default() }
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The beginning of what this program answered, if it is still the one that was asked.
    pub fn of(&self, program: &Program) -> Option<&str> {
        let answer = self.programs.iter().rfind(|answer| answer.program == *program)?;
        Some(&answer.says)
    }

    /// Remembers an answer in place of what was known of its path. One that isn't text, or is empty, is passed over.
    pub fn remember(&mut self, program: Program, answer: &[u8]) {
        let Some(says) = beginning(answer) else { return };
        self.programs.retain(|known| known.program.path != program.path);
        self.programs.push(Answer { program, says: says.to_owned() });
        let too_many = self.programs.len().saturating_sub(MOST);
        self.programs.drain(..too_many);
    }
}

/// As much of it as is kept, without a half character at the end.
fn beginning(answer: &[u8]) -> Option<&str> {
    let cut = &answer[..answer.len().min(LENGTH)];
    let text = match std::str::from_utf8(cut) {
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&cut[..error.valid_up_to()]),
        other => other,
    };
    text.ok().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(path: &str) -> Program {
        Program { path: path.to_owned(), size: 10, mtime_ns: 1_700_000_000_123_456_789 }
    }

    #[test]
    fn answers_survive_the_file() {
        let mut versions = Versions::default();
        let odd = Program { path: "/a \"b\"\\\n/é".to_owned(), size: u64::MAX, mtime_ns: i64::MIN };
        versions.remember(program("/usr/bin/make"), b"GNU Make 4.3\nBuilt for x86_64\n");
        versions.remember(odd.clone(), b"1.13.2\n");
        let read = Versions::read(versions.text().as_bytes());
        assert_eq!(read, versions);
        assert_eq!(read.of(&program("/usr/bin/make")), Some("GNU Make 4.3\nBuilt for x86_64\n"));
        assert_eq!(read.of(&odd), Some("1.13.2\n"));
        assert_eq!(read.of(&program("/usr/bin/ninja")), None);
    }

    #[test]
    fn another_program_at_the_same_path_is_not_known() {
        let mut versions = Versions::default();
        let old = program("/bin/make");
        versions.remember(old.clone(), b"4.3");
        let larger = Program { size: 11, ..old.clone() };
        let newer = Program { mtime_ns: old.mtime_ns + 1, ..old.clone() };
        assert_eq!([versions.of(&larger), versions.of(&newer)], [None, None]);
        versions.remember(newer.clone(), b"4.4");
        assert_eq!([versions.of(&old), versions.of(&newer)], [None, Some("4.4")]);
    }

    #[test]
    fn the_newest_stay() {
        let mut versions = Versions::default();
        let path = |number: usize| format!("/bin/{number}");
        for number in 0..=MOST {
            versions.remember(program(&path(number)), b"1.0");
        }
        versions.remember(program(&path(1)), b"2.0"); // no longer the oldest
        versions.remember(program("/bin/last"), b"3.0");
        let known = |number| versions.of(&program(&path(number)));
        assert_eq!([known(0), known(1), known(2), known(3)], [None, Some("2.0"), None, Some("1.0")]);
        assert_eq!(versions.programs.len(), 200);
        assert_eq!(Versions::read(versions.text().as_bytes()), versions);
    }

    #[test]
    fn the_beginning_of_an_answer() {
        let long = "é".repeat(LENGTH);
        let shifted = format!("x{long}");
        let rows: [(&[u8], Option<&str>); 5] = [
            (b"1.9\n", Some("1.9\n")),
            (long.as_bytes(), Some(&long[..LENGTH])),
            (shifted.as_bytes(), Some(&shifted[..LENGTH - 1])),
            (b"", None),
            (b"\xff\xfe\x00 no text at all", None),
        ];
        for (answer, says) in rows {
            let mut versions = Versions::default();
            versions.remember(program("/bin/x"), answer);
            assert_eq!(versions.of(&program("/bin/x")), says, "{answer:?}");
        }
    }

    #[test]
    fn what_is_no_such_file_remembers_nothing() {
        let mut versions = Versions::default();
        versions.remember(program("/bin/x"), b"1.0");
        let text = versions.text();
        let rows = [
            "",
            "\0\0\0\0",
            "[]",
            "{}",
            "null",
            &text[..text.len() / 2],
            &text.repeat(2),
            &text.replace("\"form\":1", "\"form\":2"),
            &text.replace(":10,", ":-10,"),
            &text.replace(":10,", ":\"10\","),
            &text.replace("\"says\":", "\"said\":"),
        ];
        for row in rows {
            assert_ne!(row, text);
            assert_eq!(Versions::read(row.as_bytes()), Versions::default(), "{row}");
        }
    }
}
