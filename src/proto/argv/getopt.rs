//! Reading words as getopt_long(3) reads them, and what to do with the options that matter here.
//!
//! Knows how short options are bundled, long ones abbreviated and values attached. Doesn't know
//! which options there are: each tool brings its own `Grammar`.

use super::{Edits, Jobs};

/// An option's argument, in the terms of getopt(3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    /// `::` – only in the same word: `-Oline`, `--jobs=4`.
    Attached,
    /// `:` – in the same word or else the next one.
    Word,
}

/// What an option means for the pool.
#[derive(Clone, Copy)]
pub(super) enum Role {
    Plain,
    Jobs,
    Load,
    /// Names another jobserver, or its style.
    Jobserver,
    /// With it the tool runs no job.
    NoJob,
    /// Everything from here on belongs to somebody else, who runs no job (`ninja -t TOOL`).
    Rest,
}

/// The options that a tool has.
pub(super) struct Options {
    /// As for getopt(3); a letter that isn't here takes nothing.
    pub(super) short: &'static [u8],
    pub(super) long: &'static [Long],
    /// Whether the unambiguous beginning of a long name will do, as for getopt_long(3).
    pub(super) abbreviates: bool,
}

/// A long name, the short option it stands for (a digit where there is none), its argument.
pub(super) type Long = (&'static str, u8, Takes);

/// What a tool's options mean for the pool.
pub(super) struct Grammar {
    pub(super) options: Options,
    pub(super) role: fn(u8) -> Role,
    pub(super) jobs: fn(Option<&[u8]>) -> Jobs,
    /// Whether the tool takes this for a load.
    pub(super) load: fn(Option<&[u8]>) -> bool,
}

/// The first option in a word that can have an argument. The rest of the word is that argument,
/// so there is at most one.
pub(super) struct Found<'a> {
    pub(super) key: u8,
    pub(super) takes: Takes,
    /// Where in the word it begins; 0 for a long one. What is before it stays.
    pub(super) at: usize,
    pub(super) attached: Option<&'a [u8]>,
}

impl Options {
    pub(super) fn find<'a>(&self, word: &'a [u8]) -> Option<Found<'a>> {
        if let Some(long) = word.strip_prefix(b"--") {
            return self.find_long(long);
        }
        let letters = word.strip_prefix(b"-")?;
        letters.iter().enumerate().find_map(|(i, &key)| {
            let rest = Some(&letters[i + 1..]).filter(|rest| !rest.is_empty());
            Some(Found {
                key,
                takes: Some(self.takes(key)).filter(|t| *t != Takes::Nothing)?,
                at: i + 1,
                attached: rest,
            })
        })
    }

    /// The options in a word that have no argument, each with where it is: those before what `find` finds.
    fn flags<'a>(&'a self, word: &'a [u8]) -> impl Iterator<Item = (usize, u8)> + 'a {
        let (long, letters) = match word.strip_prefix(b"--") {
            Some(name) => (self.named(name), &[][..]),
            None => (None, word.strip_prefix(b"-").unwrap_or_default()),
        };
        let long = long.filter(|long| long.2 == Takes::Nothing).map(|long| (0, long.1));
        let letters = letters.iter().take_while(|&&key| self.takes(key) == Takes::Nothing);
        long.into_iter().chain((1..).zip(letters.copied()))
    }

    fn find_long<'a>(&self, word: &'a [u8]) -> Option<Found<'a>> {
        let equals = word.iter().position(|b| *b == b'=');
        let &(_, key, takes) = self.named(&word[..equals.unwrap_or(word.len())])?;
        let attached = equals.map(|at| &word[at + 1..]);
        (takes != Takes::Nothing).then_some(Found { key, takes, at: 0, attached })
    }

    /// The long option of this name.
    fn named(&self, name: &[u8]) -> Option<&Long> {
        let exact = self.long.iter().find(|long| long.0.as_bytes() == name);
        exact.or_else(|| self.abbreviated(name))
    }

    /// The long option that `name` is the beginning of; two names of one option don't clash.
    fn abbreviated(&self, name: &[u8]) -> Option<&Long> {
        let begins = |long: &&Long| long.0.as_bytes().starts_with(name);
        let mut candidates = self.long.iter().filter(begins);
        let first = candidates.next().filter(|_| self.abbreviates)?;
        candidates.all(|other| other.1 == first.1).then_some(first)
    }

    fn takes(&self, key: u8) -> Takes {
        let at = self.short.iter().position(|b| *b == key && key != b':');
        match at.map(|at| &self.short[at + 1..]) {
            Some([b':', b':', ..]) => Takes::Attached,
            Some([b':', ..]) => Takes::Word,
            Some(_) | None => Takes::Nothing,
        }
    }
}

/// An option as it stands among the words.
pub(super) struct Seen<'a> {
    pub(super) key: u8,
    role: Role,
    /// Its argument.
    pub(super) value: Option<&'a [u8]>,
    /// The word that it stands in, and where in that word it begins.
    word: usize,
    at: usize,
    /// How many words it and its argument take.
    used: usize,
}

impl Seen<'_> {
    /// Whether with this option the tool runs no job.
    pub(super) fn asks_nothing(&self) -> bool {
        matches!(self.role, Role::NoJob | Role::Rest)
    }
}

/// Reads words as getopt_long(3) does, up to `--`, and tells each option; gives the place where it has stopped.
pub(super) fn each_option<'a>(
    grammar: &Grammar,
    words: &[&'a [u8]],
    mut tell: impl FnMut(Seen<'a>),
) -> usize {
    let mut word = 0;
    while word < words.len() && words[word] != b"--" {
        for (at, key) in grammar.options.flags(words[word]) {
            tell(Seen { key, role: (grammar.role)(key), value: None, word, at, used: 1 });
        }
        let Some(found) = grammar.options.find(words[word]) else {
            word += 1;
            continue;
        };
        let role = (grammar.role)(found.key);
        let next = words.get(word + 1).copied();
        let separate = match found.takes {
            _ if found.attached.is_some() => None,
            Takes::Word => next,
            Takes::Attached => next.filter(|next| is_separate_number(role, next)),
            Takes::Nothing => None,
        };
        let value = found.attached.or(separate);
        let used = 1 + usize::from(separate.is_some());
        tell(Seen { key: found.key, role, value, word, at: found.at, used });
        if matches!(role, Role::Rest) {
            break;
        }
        word += used;
    }
    word
}

/// What becomes of the words, by what their options mean for the pool.
pub(super) fn scan(grammar: &Grammar, words: &[&[u8]]) -> Edits {
    let mut edits = Edits::none(words.len());
    edits.end = each_option(grammar, words, |seen| {
        let leaves_the_pool = match seen.role {
            Role::Plain | Role::NoJob | Role::Rest => false,
            Role::Jobs => edits.jobs((grammar.jobs)(seen.value)),
            Role::Load => (grammar.load)(seen.value),
            Role::Jobserver => seen.value.is_some(),
        };
        if leaves_the_pool {
            edits.take_out(seen.word, seen.used, seen.at);
        }
    });
    edits
}

/// Whether with one of the options the tool runs no job.
pub(super) fn asks_nothing(grammar: &Grammar, words: &[&[u8]]) -> bool {
    let mut asks_nothing = false;
    each_option(grammar, words, |seen| asks_nothing |= seen.asks_nothing());
    asks_nothing
}

/// Whether the word after `-j` or `-l` is its number: getopt says that there is none, and then
/// make's `decode_switches` looks itself. For `-j` all must be digits (an empty word will do, and
/// is refused later); a load need only begin like one.
fn is_separate_number(role: Role, word: &[u8]) -> bool {
    match role {
        Role::Jobs => word.iter().all(u8::is_ascii_digit),
        Role::Load => word.first().is_some_and(|b| b.is_ascii_digit() || *b == b'.'),
        Role::Plain | Role::Jobserver | Role::NoJob | Role::Rest => false,
    }
}
