//! Odd values of `MAKEFLAGS`, as tables.
//!
//! Doesn't know how they are read.

use super::*;

#[rustfmt::skip]
const ODD_VALUES: &[(&str, &str, Option<u32>)] = &[
    // Inherited, what stands behind ours, cap.
    ("", "", None),
    ("   ", "", None),
    ("k", " -k", None),
    ("kw", " -kw", None),
    ("rR -k", " -rR -k", None),
    ("-k X=1", " -k X=1", None),
    ("X=1 k", " X=1 k", None),
    ("  kw -s", " -kw -s", None),
    ("kj", " -k", None),
    ("kj16", " -k", Some(16)),
    ("kj 16 w", " -k w", Some(16)),
    ("j4 X=1", " X=1", Some(4)),
    ("j4 foo", " foo", Some(4)),
    (" -j4", "", Some(4)),
    ("-j ", "", None),
    ("-j8 -j", "", None),
    ("--jobs=7 -l 3", "", Some(7)),
    ("-l3 --load=2 --max-load", "", None),
    ("kw -j8 --jobserver-auth=3,4 -- A=b\\ c", " -kw -- A=b\\ c", Some(8)),
    (" -j --jobserver-fds=3,4 -j", "", None),
    ("--jobserver-a=3,4 --jobserver-auth=fifo:/tmp/GMfifo1", "", None),
    (" -j --jobserver-auth=fifo:/p --jobserver-style --jobserver-f=-2,-2 --jobserver-style=fifo -k",
     " -k", None),
    ("-- A=1  B=-j4 -j4 ", " -- A=1  B=-j4 -j4 ", None),
    ("-j4 -- -l3", " -- -l3", Some(4)),
    ("X=-j4 Y=a\\ -j5", " X=-j4 Y=a\\ -j5", None),
    ("-I -j4 -j2", " -I -j4", Some(2)),
    ("-Ia\\ b\\\\c -j2", " -Ia\\ b\\\\c", Some(2)),
    ("-I\\ -j4", " -I\\ -j4", None),
    ("-\\j4 -k", " -k", Some(4)),
    ("-j\\4", "", Some(4)),
    ("--eval=$$(info\\ x) -j2", " --eval=$$(info\\ x)", Some(2)),
    ("-I$(subst a,b -j3,X) -j2", " -I$(subst a,b -j3,X)", Some(2)),
    ("-j$(N)", " -j$(N)", None),
    ("-$(X)j4", " -$(X)j4", Some(4)),
    ("$(X) -j4", " $(X)", Some(4)),
    ("-k\t-s", " -k -s", None),
    ("-jx -k", " -jx -k", None),
    ("k\\", " -k\\", None),
    ("k$", " -k$", None),
    ("-k$", " -k$", None),
    ("-$$j4", " -$$", Some(4)),
    ("- -j4 -k", " - -k", Some(4)),
];

#[test]
fn odd_values() {
    let auth = Auth::Pipe { read: 100, write: 101 };
    for &(inherited, left, cap) in ODD_VALUES {
        let value = format!(" -j --jobserver-auth=100,101{left}").into();
        let flags = compose(&auth, Some(OsStr::new(inherited)));
        assert_eq!(flags, Flags { value, cap }, "{inherited:?}");
    }
}

#[test]
fn ways_to_the_endpoint() {
    let path = PathBuf::from("/run/f");
    let fifo = |old_make| Auth::Fifo { path: path.clone(), old_make };
    let rows = [
        (Auth::Pipe { read: 3, write: 4 }, " -j --jobserver-auth=3,4"),
        (fifo(false), " -j --jobserver-auth=fifo:/run/f"),
        (
            fifo(true),
            " -j --jobserver-auth=fifo:/run/f --jobserver-style --jobserver-f=-2,-2 \
             --jobserver-style=fifo",
        ),
    ];
    for (auth, value) in rows {
        let flags = compose(&auth, None);
        assert_eq!(flags, Flags { value: value.into(), cap: None });
    }
}

#[test]
fn only_taken_out() {
    #[rustfmt::skip]
    let rows = [
        ("", "", None), ("  k   X=1 ", "  k   X=1 ", None), ("k -j4", "-k", Some(4)),
        ("kj4  X=1", "-k X=1", Some(4)), ("j4", "", Some(4)), ("-j4 kw", "- kw", Some(4)),
        ("-j4 X=1", "X=1", Some(4)), ("-j4 -k", "-k", Some(4)), ("-j4 -- k", "-- k", Some(4)),
        ("-jx", "-jx", None), ("-l", "", None), ("X=1 kw -j4", "X=1 kw", Some(4)),
    ];
    for (old, new, cap) in rows {
        let flags = Flags { value: new.into(), cap };
        assert_eq!(strip(OsStr::new(old)), flags, "{old:?}");
    }
}

#[rustfmt::skip]
const INHERITED: &[(&str, Option<(i32, i32)>)] = &[
    // Written by make 4.3 for any recipe, and by 4.4.1 in pipe style for recursive ones ...
    (" -j4 --jobserver-auth=3,4", Some((3, 4))),
    ("k -j3 --jobserver-auth=3,4", Some((3, 4))),
    (" -j2 -l3 -Otarget --jobserver-auth=3,4 -- I=1", Some((3, 4))),
    (" -Ia\\ b -j4 --jobserver-auth=3,4 -- X=a\\ \\ b$$c", Some((3, 4))),
    // ... and by 4.4.1 for the others, for a dry run, and by both without a jobserver.
    (" -j3 --jobserver-auth=3,4 --jobserver-auth=-2,-2", None),
    ("n -j4 --jobserver-auth=3,4", None),
    ("kn -j4 --jobserver-auth=3,4", None),
    (" -j1", None), (" -j", None), ("k", None), ("", None), ("  ", None),
    // By older makes, jobserver-rs, and what make reads too.
    (" --jobserver-fds=5,6 -j", Some((5, 6))),
    ("-j --jobserver-fds=5,6 --jobserver-auth=7,8", Some((7, 8))),
    ("-j --jobserver-auth=7,8 --jobserver-fds=5,6", Some((5, 6))),
    (" -j --jobserver-auth 3,4", Some((3, 4))),
    (" -j --jobserver-f=3,4", Some((3, 4))),
    ("--jobserver-auth=3,4 n", Some((3, 4))),
    ("-n --jobserver-auth=3,4", Some((3, 4))),
    ("X=n --jobserver-auth=3,4", Some((3, 4))),
    (" --jobserver-auth=0,0", Some((0, 0))),
    (" --jobserver-auth=+3,4x", Some((3, 4))),
    // The last one counts, whatever it is.
    (" --jobserver-auth=-2,-2 --jobserver-auth=3,4", Some((3, 4))),
    (" --jobserver-auth=3,4 --jobserver-auth=x", None),
    (" --jobserver-auth=3,-1", None), (" --jobserver-auth=-1,4", None),
    (" --jobserver-auth=3", None), (" --jobserver-auth=3,", None), (" --jobserver-auth=,4", None),
    (" --jobserver-auth=3;4", None), (" --jobserver-auth=- 3,4", None), (" --jobserver-auth=3,99999999999", None),
    (" --jobserver-auth=", None), (" --jobserver-auth", None), (" --jobserver-auth=fifo:", None),
    (" --jobserver-auth=sem", None), (" --jobserver-authority=3,4", None), (" --jobserver=3,4", None),
    // Not options: arguments, variables.
    ("-I --jobserver-auth=3,4", None),
    ("kI --jobserver-auth=3,4", None),
    ("k --jobserver-auth=3,4 -- X=1 --jobserver-auth=5,6", Some((3, 4))),
    (" -- --jobserver-auth=3,4", None),
    (" X=--jobserver-auth=3,4", None),
    (" -Ix\\ --jobserver-auth=3,4", None),
];

#[test]
fn the_pipe_below_which_a_process_was_started() {
    for &(value, pipe) in INHERITED {
        let expected = pipe.map(|(read, write)| Inherited::Pipe { read, write });
        assert_eq!(inherited(OsStr::new(value)), expected, "{value:?}");
    }
}

#[test]
fn the_fifo_below_which_a_process_was_started() {
    let rows: [(&[u8], &[u8]); 6] = [
        (b" -j4 --jobserver-auth=fifo:/tmp/GMfifo1", b"/tmp/GMfifo1"),
        (b" -j2 --jobserver-auth=fifo:/tmp/GMfifo1 --sync-mutex=fnm:/tmp/Gmo1 -- I=1", b"/tmp/GMfifo1"),
        // make 4.4.1 escapes blanks here, but leaves dollars as they are.
        (b" -j4 --jobserver-auth=fifo:/tmp/t\\ m$p/GMfifo1", b"/tmp/t m$p/GMfifo1"),
        (b" --jobserver-auth=3,4 --jobserver-auth=fifo:f", b"f"),
        (b" --jobserver-auth=fifo:/\xff", b"/\xff"),
        (b"--jobserver-auth=fifo:/a --jobserver-style=fifo", b"/a"),
    ];
    for (value, path) in rows {
        let expected = Inherited::Fifo(OsStr::from_bytes(path).into());
        assert_eq!(inherited(OsStr::from_bytes(value)), Some(expected), "{value:?}");
    }
}

#[test]
fn what_we_write_is_read_again() {
    let path = PathBuf::from("/run/f");
    for old_make in [false, true] {
        let auth = Auth::Fifo { path: path.clone(), old_make };
        let flags = compose(&auth, Some(OsStr::new("k --jobserver-auth=3,4 -- A=1")));
        assert_eq!(inherited(&flags.value), Some(Inherited::Fifo(path.clone())));
    }
    let flags = compose(&Auth::Pipe { read: 100, write: 101 }, None);
    assert_eq!(inherited(&flags.value), Some(Inherited::Pipe { read: 100, write: 101 }));
}

#[test]
fn bytes_need_not_be_text() {
    let value = b"k -j4 -I\xff -- A=\xfe\\ \xff";
    let left = strip(OsStr::from_bytes(value));
    assert_eq!(left.value.as_bytes(), b"-k -I\xff -- A=\xfe\\ \xff");
    assert_eq!(left.cap, Some(4));
}

/// As 4.3 and 4.4.1 do with these values, tried with a target that wasn't there.
#[test]
fn values_with_which_make_runs_no_job() {
    #[rustfmt::skip]
    let rows: [(&[&str], bool); 2] = [
        (&[
            "n", "q", "t", "v", "kn", "n -j4 --jobserver-auth=3,4", "kn -j --jobserver-auth=fifo:/x -- A=1", " n",
            " -n", "-kn", "-k -n", "-Oline -n", "--just-print", "--dry", "--recon", "--question", "--touch",
            "--version", "X=1 -n", "-l -n", "-I x -q", "-\\n",
        ], true),
        (&[
            "", "k", " -j4 --jobserver-auth=3,4", "h", "-h", "--help", "In", "I n", "I -n", "-In", "-I -n", "-W n",
            "-Ia\\ -n", "X=n", "nX=1", "k -- X=n", " -- -n", "--debug=n", "--eval=n", "$(n)", "- n", "k n", "-j n",
            "-i", "p", "w", "rR",
        ], false),
    ];
    for (values, expected) in rows {
        for value in values {
            assert_eq!(asks_nothing(OsStr::new(value)), expected, "{value:?}");
        }
    }
}

#[test]
fn values_that_name_a_jobserver() {
    #[rustfmt::skip]
    let rows: [(&[&str], bool); 2] = [
        (&[
            " -j4 --jobserver-auth=3,4", " -j3 --jobserver-auth=3,4 --jobserver-auth=-2,-2", "--jobserver-auth=-2,-2",
            " --jobserver-fds=5,6 -j", "n -j --jobserver-auth=fifo:/x", "kj --jobserver-auth=fifo:", "--jobserver-f=3,4",
            "-k --jobserver-auth 3,4",
        ], true),
        (&[
            "", "k", " -j4", "-j", "--jobserver-style=fifo", " -- --jobserver-auth=3,4", "-I --jobserver-auth=3,4",
            "X=--jobserver-auth=3,4", "--jobserver-auth", "--jobserver=3,4",
        ], false),
    ];
    for (values, expected) in rows {
        for value in values {
            assert_eq!(names_jobserver(OsStr::new(value)), expected, "{value:?}");
        }
    }
}

#[test]
fn two_dashes_that_are_an_options_argument_end_nothing() {
    let left = strip(OsStr::new("-I -- -j9 -k"));
    assert_eq!((left.value.to_str(), left.cap), (Some("-I -- -k"), Some(9)));
    let left = strip(OsStr::new("-k -- -j9  x"));
    assert_eq!((left.value.to_str(), left.cap), (Some("-k -- -j9  x"), None));
}
