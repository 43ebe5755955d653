//! The disk space monitor as text: bitbake's `BB_DISKMON_DIRS` and `BB_DISKMON_WARNINTERVAL`, and what it says.
//!
//! Doesn't know where a value was written (it is told the name to complain about), nor what is free. The format is that of
//! bitbake's `lib/bb/monitordisk.py`; without a suffix a size is in bytes, as there, whatever its manual says.

use crate::policy::diskmon::{Action, Amounts, Intervals, Kind, Word};

/// One directory and what is done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What is done where too little is left.
    pub action: Action,
    /// As it was written.
    pub dir: String,
    /// What must be left.
    pub least: Amounts,
}

/// All that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// One or more.
    pub entries: Vec<Entry>,
    /// After how large a decrease a warning is repeated.
    pub intervals: Intervals,
}

/// `ACTION,DIR,MINSPACE[,MININODES] ...`, and what its user should know although it stops nothing.
pub fn entries(name: &str, text: &str) -> Result<(Vec<Entry>, Option<String>), String> {
    let mut renamed = None;
    let mut entries = Vec::new();
    for word in text.split_whitespace() {
        let (entry, is_old) = entry(word).map_err(|why| format!("{name} '{word}': {why}"))?;
        if is_old {
            let renaming = "\"ABORT\" action has been renamed to \"HALT\", update configuration";
            renamed = Some(format!("The {name} {renaming}"));
        }
        entries.push(entry);
    }
    Ok((entries, renamed))
}

/// One entry, and whether its action goes by its old name.
fn entry(word: &str) -> Result<(Entry, bool), String> {
    let mut fields = word.splitn(4, ',');
    let (Some(action), Some(dir), Some(space)) = (fields.next(), fields.next(), fields.next()) else {
        return Err("give ACTION,DIR,MINSPACE[,MININODES]".to_owned());
    };
    let inodes = fields.next().unwrap_or_default();
    let is_old = action == "ABORT";
    let action = match action {
        "WARN" => Action::Warn,
        "STOPTASKS" => Action::StopTasks,
        "HALT" | "ABORT" => Action::Halt,
        _ => return Err("the action is WARN, STOPTASKS or HALT".to_owned()),
    };
    if dir.is_empty() {
        return Err("it names no directory".to_owned());
    }
    if dir.contains("${") {
        return Err("bitbake's variables have no value here".to_owned());
    }
    let amount = |text: &str, what: &str| match size(text) {
        _ if text.is_empty() => Ok(None),
        None => {
            Err(format!("'{text}' is no {what}; give a number from 1, with G, M, K or nothing behind it"))
        }
        size => Ok(size),
    };
    let least = Amounts { space: amount(space, "space")?, inodes: amount(inodes, "number of inodes")? };
    if least == Amounts::default() {
        return Err("give a space, a number of inodes, or both".to_owned());
    }
    Ok((Entry { action, dir: dir.to_owned(), least }, is_old))
}

/// `SPACE[,INODES]`; what is empty is as by default.
pub fn intervals(name: &str, text: &str) -> Result<Intervals, String> {
    let (space, inodes) = text.split_once(',').unwrap_or((text, ""));
    let amount = |text: &str, default: u64| match size(text) {
        _ if text.is_empty() => Ok(default),
        None => Err(format!("{name} '{text}': give sizes as in 50M,5K")),
        Some(size) => Ok(size),
    };
    let default = Intervals::default();
    Ok(Intervals {
        space: amount(space, default.space)?,
        inodes: amount(inodes.trim_start(), default.inodes)?,
    })
}

/// `[1-9][0-9]*`, with `G`, `M` or `K` (times 1024 each), and one blank behind it. What is too large to count is the most.
pub fn size(text: &str) -> Option<u64> {
    let text = text.strip_suffix(char::is_whitespace).unwrap_or(text);
    let (digits, factor) = match text.as_bytes().last()? {
        b'g' | b'G' => (&text[..text.len() - 1], 1 << 30),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        _ => (text, 1),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !digits.starts_with('0')).then(|| digits.parse().unwrap_or(u64::MAX).saturating_mul(factor))
}

/// bitbake's sentence for it.
pub fn sentence(word: Word, dir: &str, device: &str) -> String {
    const CLOSED: &str = "No new tasks can be executed since the disk space monitor action is \"STOPTASKS\"!";
    const HALTED: &str = "Immediately halt since the disk space monitor action is \"HALT\"!";
    match word {
        Word::Low(Kind::Space, left) => {
            let left = left as f64 / f64::from(1 << 30);
            format!("The free space of {dir} ({device}) is running low ({left:.3}GB left)")
        }
        Word::Low(Kind::Inodes, left) => {
            let left = left as f64 / 1024.0;
            format!("The free inode of {dir} ({device}) is running low ({left:.3}K left)")
        }
        Word::Stop => CLOSED.to_owned(),
        Word::Halt => HALTED.to_owned(),
    }
}

/// What is mounted at `point`, by the lines of `/proc/mounts` (proc_pid_mounts(5)); of several the last, which hides the others.
pub fn device_at(mounts: &str, point: &str) -> Option<String> {
    let line = |line: &str| {
        let mut fields = line.split(' ');
        let device = fields.next()?;
        (unescaped(fields.next()?) == point).then(|| unescaped(device))
    };
    mounts.lines().rev().find_map(line)
}

/// Blanks and backslashes are written in octal (getmntent(3)).
fn unescaped(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |field, (escaped, plain)| field.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const G: u64 = 1 << 30;

    fn read(text: &str) -> Vec<Entry> {
        entries("X", text).unwrap().0
    }

    #[test]
    fn good_entries() {
        use Action::{Halt, StopTasks, Warn};
        type Row = (&'static str, Action, &'static str, Option<u64>, Option<u64>);
        let rows: [Row; 14] = [
            ("WARN,/tmp,1G,100K", Warn, "/tmp", Some(G), Some(102_400)),
            ("STOPTASKS,/tmp,1G", StopTasks, "/tmp", Some(G), None),
            ("HALT,/tmp,,5", Halt, "/tmp", None, Some(5)),
            ("ABORT,/tmp,2M,", Halt, "/tmp", Some(2 << 20), None),
            ("WARN,.,3k", Warn, ".", Some(3072), None),
            ("WARN,a/b,3m,1g", Warn, "a/b", Some(3 << 20), Some(G)),
            ("WARN,/,512", Warn, "/", Some(512), None),
            ("WARN,/,1000000G", Warn, "/", Some(1_000_000 * G), None),
            ("WARN,/,99999999999999999999999G", Warn, "/", Some(u64::MAX), None),
            ("WARN,/,99999999999999999G", Warn, "/", Some(u64::MAX), None),
            ("\t\n WARN,/,1 ", Warn, "/", Some(1), None),
            ("WARN,~,1", Warn, "~", Some(1), None),
            ("WARN,$x,1", Warn, "$x", Some(1), None),
            ("WARN,/ä,1", Warn, "/ä", Some(1), None),
        ];
        for (text, action, dir, space, inodes) in rows {
            let entry = Entry { action, dir: dir.to_owned(), least: Amounts { space, inodes } };
            assert_eq!(read(text), [entry], "{text}");
        }
        assert_eq!(read("WARN,/,1  HALT,/,2\nSTOPTASKS,/x,,3").len(), 3);
        assert_eq!(read(" \n").len(), 0);
    }

    #[test]
    fn bad_entries_say_which_and_what_to_give() {
        let rows = [
            ("WARN", "X 'WARN': give ACTION,DIR,MINSPACE[,MININODES]"),
            ("WARN,/", "X 'WARN,/': give ACTION,DIR,MINSPACE[,MININODES]"),
            ("WARN,/,1G x", "X 'x': give ACTION,DIR,MINSPACE[,MININODES]"),
            ("FOO,/,1G", "X 'FOO,/,1G': the action is WARN, STOPTASKS or HALT"),
            ("warn,/,1G", "X 'warn,/,1G': the action is WARN, STOPTASKS or HALT"),
            (",/,1G", "X ',/,1G': the action is WARN, STOPTASKS or HALT"),
            ("WARN,,1G", "X 'WARN,,1G': it names no directory"),
            ("WARN,${TMPDIR},1G", "X 'WARN,${TMPDIR},1G': bitbake's variables have no value here"),
            ("WARN,/,,", "X 'WARN,/,,': give a space, a number of inodes, or both"),
            ("WARN,/,", "X 'WARN,/,': give a space, a number of inodes, or both"),
        ];
        for (text, sentence) in rows {
            assert_eq!(entries("X", text).unwrap_err(), sentence);
        }
        for size in ["0", "01", "1T", "1GB", "G", "-1", "+1", "1.5G", "1_000", "0x10", "١", "1KK", "ä", "Gä"]
        {
            let why =
                format!("'{size}' is no space; give a number from 1, with G, M, K or nothing behind it");
            assert_eq!(
                entries("X", &format!("WARN,/,{size}")).unwrap_err(),
                format!("X 'WARN,/,{size}': {why}")
            );
            let refused = entries("X", &format!("WARN,/,1G,{size}")).unwrap_err();
            assert!(refused.contains(&format!("'{size}' is no number of inodes; ")), "{refused}");
        }
        // What is behind the third comma is one field.
        assert!(entries("X", "WARN,/,1G,2K,3").unwrap_err().contains("'2K,3' is no number of inodes"));
    }

    #[test]
    fn the_old_name_of_halt_is_told_once() {
        let (entries, told) = entries("X", "ABORT,/,1G HALT,/a,1G ABORT,/b,1G").unwrap();
        assert_eq!(entries.len(), 3);
        let told = told.unwrap();
        assert_eq!(told, "The X \"ABORT\" action has been renamed to \"HALT\", update configuration");
    }

    #[test]
    fn warn_intervals() {
        let rows: [(&str, u64, u64); 8] = [
            ("50M,5K", 50 << 20, 5120),
            ("1G", G, 5120),
            ("1G,", G, 5120),
            (",7", 50 << 20, 7),
            ("", 50 << 20, 5120),
            ("1M , 3", 1 << 20, 3),
            ("1M,3 ", 1 << 20, 3),
            (", ", 50 << 20, 5120),
        ];
        for (text, space, inodes) in rows {
            assert_eq!(intervals("X", text), Ok(Intervals { space, inodes }), "{text:?}");
        }
        for (text, bad) in [("x", "x"), (" 1M", " 1M"), ("1M 5K", "1M 5K"), ("1M,0", "0"), ("1M,1,1", "1,1")]
        {
            assert_eq!(intervals("X", text), Err(format!("X '{bad}': give sizes as in 50M,5K")), "{text:?}");
        }
    }

    #[test]
    fn sentences_are_bitbakes() {
        let say = |word| sentence(word, "/tmp", "/dev/vda");
        let left = 84_501_436_334;
        assert_eq!(
            say(Word::Low(Kind::Space, left)),
            "The free space of /tmp (/dev/vda) is running low (78.698GB left)"
        );
        assert_eq!(
            say(Word::Low(Kind::Inodes, 1536)),
            "The free inode of /tmp (/dev/vda) is running low (1.500K left)"
        );
    }

    #[test]
    fn devices() {
        let mounts = "rootfs / rootfs rw 0 0\n/dev/vda / ext4 rw 0 0\nno\\040ne /a\\040b tmpfs rw 0 0\nodd\n";
        let rows = [("/", Some("/dev/vda")), ("/a b", Some("no ne")), ("/a", None), ("", None)];
        for (point, device) in rows {
            assert_eq!(device_at(mounts, point).as_deref(), device, "{point}");
        }
    }
}
