//! How large the jobs of builds became, by what the builds are called, as the text of a file, and back.
//!
//! Doesn't know where that file lies. All that can be lost with it is a careful start.

use serde::{Deserialize, Serialize};

/// How many builds are remembered: those that ran last.
const MOST: usize = 200;

/// Of the file's form. One of another form is as good as none.
const FORM: u32 = 1;

/// The builds, the one that ran last at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    form: u32,
    builds: Vec<Build>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Build {
    uid: u32,
    label: String,
    bytes: u64,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes { form: FORM, builds: Vec::new() }
    }
}

impl Sizes {
    /// Reads a file; one that isn't ours, or is damaged, remembers nothing.
    pub fn read(file: &[u8]) -> Sizes {
        let sizes: Sizes = serde_json::from_slice(file).unwrap_or_default();
        if sizes.form == FORM && sizes.builds.len() <= MOST { sizes } else { Sizes::default() }
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The size of a job of such a build, in bytes.
    pub fn of(&self, uid: u32, label: &str) -> Option<u64> {
        Some(self.builds.iter().rfind(|build| build.uid == uid && build.label == label)?.bytes)
    }

    /// Such a build has run, and its largest job was that large. What was known of it is forgotten by half: one that had little to
    /// do says little.
    pub fn remember(&mut self, uid: u32, label: &str, bytes: u64) {
        let bytes = bytes.max(self.of(uid, label).unwrap_or(0) / 2);
        self.builds.retain(|build| build.uid != uid || build.label != label);
        self.builds.push(Build { uid, label: label.to_owned(), bytes });
        let too_many = self.builds.len().saturating_sub(MOST);
        self.builds.drain(..too_many);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_builds_are_remembered_and_sizes_forgotten_by_half() {
        let mut sizes = Sizes::default();
        sizes.remember(7, "make world", 800);
        sizes.remember(8, "make world", 5);
        assert_eq!(
            (sizes.of(7, "make world"), sizes.of(7, "make"), sizes.of(9, "make world")),
            (Some(800), None, None)
        );
        sizes.remember(7, "make world", 10);
        assert_eq!(sizes.of(7, "make world"), Some(400));
        assert_eq!(Sizes::read(sizes.text().as_bytes()), sizes);
        for number in 0..MOST - 1 {
            sizes.remember(7, &format!("{number}"), 1);
        }
        assert_eq!((sizes.of(8, "make world"), sizes.of(7, "make world")), (None, Some(400)));
        assert_eq!(Sizes::read(sizes.text().as_bytes()), sizes);
    }

    #[test]
    fn what_is_no_such_file_remembers_nothing() {
        for text in
            ["", "{}", "[]", "{\"form\":2,\"builds\":[]}", "{\"form\":1,\"builds\":[{\"uid\":-1}]}", "\u{0}"]
        {
            assert_eq!(Sizes::read(text.as_bytes()), Sizes::default(), "{text}");
        }
    }
}
