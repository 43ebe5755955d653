//! The option by which a tool that we don't know is told its number of jobs, as a configuration lists it: `-j{}`,
//! `--parallel {}`.
//!
//! Doesn't know the tool's other options: a word that looks like this one is taken for it.

use super::{Jobs, Stripped, limit};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberOption {
    /// Its words; the last one ends where the number comes.
    words: Vec<String>,
}

impl NumberOption {
    /// What make, ninja and samurai have.
    pub fn dash_j() -> NumberOption {
        NumberOption { words: vec!["-j".to_owned()] }
    }

    /// Reads one: words with blanks between them, of which the last ends with `{}`, and nothing else in braces.
    pub fn parse(text: &str) -> Option<NumberOption> {
        let words: Vec<String> = text.strip_suffix("{}")?.split(' ').map(str::to_owned).collect();
        let is_plain = !words.iter().any(|word| word.contains(['{', '}']));
        let is_whole = words.iter().rev().skip(1).all(|word| !word.is_empty());
        (is_plain && is_whole && !words[0].is_empty() && words.len() <= 2).then_some(NumberOption { words })
    }

    /// As words for so many jobs.
    pub fn fill(&self, jobs: u32) -> Vec<OsString> {
        let last = self.words.len() - 1;
        let word =
            |(at, word): (usize, &String)| if at == last { format!("{word}{jobs}") } else { word.clone() };
        self.words.iter().enumerate().map(word).map(OsString::from).collect()
    }

    /// Takes it out of a command line, up to `--`; the last number is the cap.
    pub fn strip(&self, args: &[OsString]) -> Stripped {
        let mut stripped = Stripped { args: Vec::new(), cap: None };
        let mut rest = args;
        while let Some(first) = rest.first() {
            if first == "--" {
                break;
            }
            match self.number(rest) {
                Some(jobs) => {
                    if let Jobs::Number(jobs) = jobs {
                        stripped.cap = Some(jobs);
                    }
                    rest = &rest[self.words.len()..];
                }
                None => {
                    stripped.args.push(first.clone());
                    rest = &rest[1..];
                }
            }
        }
        stripped.args.extend_from_slice(rest);
        stripped
    }

    /// The number, where the option stands at the front.
    fn number(&self, args: &[OsString]) -> Option<Jobs> {
        let (last, before) = self.words.split_last()?;
        let is_before = args.len() >= self.words.len()
            && before.iter().zip(args).all(|(word, arg)| arg.as_os_str() == OsStr::new(word));
        let text = args.get(before.len()).filter(|_| is_before)?.as_bytes();
        let digits = text.strip_prefix(last.as_bytes())?;
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        is_number.then(|| limit(digits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_filled_and_taken_out() {
        let rows = [
            ("-j{}", "-j3", "all -j8 -x -j4", "all -x", Some(4)),
            ("-j{}", "-j3", "-j x -jx -j -- -j4", "-j x -jx -j -- -j4", None),
            ("-j{}", "-j3", "-j0", "", None),
            ("--jobs={}", "--jobs=3", "--jobs=8 --jobs 7", "--jobs 7", Some(8)),
            ("--parallel {}", "--parallel 3", "a --parallel 8 b --parallel", "a b --parallel", Some(8)),
            ("-P n{}", "-P n3", "-P n2 -P 4", "-P 4", Some(2)),
        ];
        for (text, filled, line, left, cap) in rows {
            let option = NumberOption::parse(text).unwrap();
            let words = |line: &str| line.split_whitespace().map(OsString::from).collect::<Vec<_>>();
            assert_eq!(option.fill(3), words(filled));
            assert_eq!(option.strip(&words(line)), Stripped { args: words(left), cap }, "{text} {line}");
        }
        for odd in ["", "{}", "-j", "-j{}x", "-j{}{}", " {}", " -j{}", "-a  {}", "a b {}", "{a}{}"] {
            assert_eq!(NumberOption::parse(odd), None, "{odd:?}");
        }
    }
}
