//! Reports: what is drawn of a journal, looked at as a text, in a real browser, and of a real build.
//!
//! Doesn't know how journals are written, nor whether a picture is nice: that somebody has to look at.

mod support;

use jobgate::proto::journal::{Change, Changes, Header, Join, Limit, Reader, Record};
use jobgate::proto::sample::Sample;
use jobgate::report::story::{Cause, Story};
use jobgate::report::{page, picture};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::Real::SystemMake;
use support::build::Build;
use support::{finish, jobgate, run, skipped, succeed};

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report").join(name)
}

fn fixed() -> Vec<u8> {
    std::fs::read(kept("fixed.journal")).expect("the journal that is kept")
}

fn story_of(text: &[u8]) -> Story {
    let mut story = Story::default();
    Reader::new(text).expect("a journal").for_each(|record| story.take(&record));
    story.end();
    story
}

/// Compares with what is in the repository.
fn compare(name: &str, text: &str) {
    let path = kept(name);
    if std::env::var_os("JOBGATE_RENEW").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let line = known.lines().zip(text.lines()).position(|(old, new)| old != new);
    assert!(
        known == text,
        "the report isn't what tests/report/{name} says, first in line {:?}.\n\
         If that is meant: JOBGATE_RENEW=1 cargo test --test report, and look at it",
        line.map(|line| line + 1)
    );
}

#[test]
fn a_report_is_what_it_was() {
    let story = story_of(&fixed());
    compare("fixed.html", &page::draw(&story, &["A note of <the> journal.".to_owned()]));
    compare("fixed.svg", &picture::draw(&story, true));
}

#[test]
fn the_picture_in_the_readme_is_that_of_its_journal() {
    let real = std::fs::read(kept("real.journal")).unwrap();
    compare("real.svg", &picture::draw(&story_of(&real), true));
    let readme = std::fs::read_to_string(kept("../../README.md")).unwrap();
    assert!(readme.contains("(tests/report/real.svg)"));
}

#[test]
fn figures_are_those_of_the_records() {
    let story = story_of(&fixed());
    // Over the two seconds in which there was no gate, too.
    assert!((story.seconds() - 18.1995).abs() < 0.001, "{}", story.seconds());
    let clients: Vec<_> = story.clients.iter().map(|told| (told.label.as_str(), told.peak)).collect();
    let names = ["make -j8 app", "ninja -C <b>libs</b> & \"tests\"", "xz", "make -j8 app"];
    assert_eq!(clients, names.into_iter().zip([6, 3, 1, 6]).collect::<Vec<_>>());
    assert_eq!((story.clients[2].token_s, story.clients[2].waited_s), (2.0, 3.5), "as it is told at the end");
    assert!((story.clients[1].waited_s - 0.25).abs() < 1e-6, "it wasn't told: {:?}", story.clients[1]);
    assert!((story.held_s - 4.5).abs() < 1e-6 && story.held.len() == 1, "{:?}", story.held);
    assert_eq!((story.held[0].from, story.held[0].until), (4_000_000, 8_500_000));
    assert!((story.causes[&Cause::Gate("cpu".to_owned())] - 4.5).abs() < 1e-6, "{:?}", story.causes);
    assert_eq!((story.beats, story.missed, story.peak), (11, 2, 6));
    assert!(story.verdict().contains("-j: all 6 jobs"), "{}", story.verdict());
    // What ran is in the columns.
    let area: f64 = story.running.columns().map(|column| story.running.at(column).area).sum();
    let sum: f64 = story.clients.iter().map(|told| told.token_s).sum();
    assert!(
        (area / 1e6 - sum).abs() < 1.5,
        "totals are exact, changes to within a tick: {} {sum}",
        area / 1e6
    );
}

#[test]
fn a_journal_cut_at_any_byte_is_drawn() {
    let whole = fixed();
    let drawn = |text: &[u8]| {
        let story = story_of(text);
        let page = page::draw(&story, &[]);
        assert!(page.ends_with("</html>\n") && !page.contains("NaN") && !page.contains("inf\""), "{page}");
        (story, page.len())
    };
    let mut last = (0, 0);
    for cut in 0..=whole.len() {
        let lines = whole[..cut].iter().filter(|&&byte| byte == b'\n').count();
        // What isn't a line yet changes nothing.
        let is_new = cut == 0 || whole[cut - 1] == b'\n';
        if is_new || cut % 97 == 0 {
            let (story, length) = drawn(&whole[..cut]);
            assert!(is_new || last == (lines, length), "{cut}");
            assert!(story.until >= 1 || lines < 20);
            last = (lines, length);
        }
    }
}

#[test]
fn a_long_journal_of_many_clients_stays_a_page() {
    let mut story = Story::default();
    story.take(&Record::Header(Box::new(Header { journal: 1, cpus: 64, ..Header::default() })));
    story.take(&Record::Limit(Limit { limit: 64, ..Limit::default() }));
    let (mut total, mut random) = (0, 1_u64);
    for tick in 1..=144_000_u64 {
        let t = tick * 250_000;
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let id = random >> 33;
        if tick % 720 == 0 {
            let id = tick / 720;
            story.take(&Record::Join(Box::new(Join {
                t,
                id,
                label: format!("make {id}"),
                ..Join::default()
            })));
        }
        total += (random >> 40) % 250_000;
        story.take(&Record::Sample(Sample { t, cpu: Some(total), io: Some(total / 2), ..Sample::default() }));
        let of =
            (0..3).map(|k| Change { id: (id + k) % 201, held: Some((id % 7) as u32), ..Change::default() });
        story.take(&Record::Clients(Changes { t, of: of.collect(), peak: None }));
    }
    story.end();
    assert_eq!((story.clients.len(), story.until), (200, 36_000_000_000));
    let sizes = [page::draw(&story, &[]).len(), picture::draw(&story, true).len()];
    assert!(sizes.iter().all(|&size| (50_000..2_000_000).contains(&size)), "{sizes:?}");
}

/// What a browser that shows nothing says of a page: what stands in it once it is loaded, and its console.
fn browse(page: &Path, picture: &Path) -> Option<(String, String)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let names = ["chromium-headless-shell", "chromium"];
    let Some(browser) = names
        .iter()
        .flat_map(|name| places.iter().map(move |place| place.join(name)))
        .find(|file| file.is_file())
    else {
        skipped("there is no chromium (Debian's package is chromium-headless-shell)");
        return None;
    };
    let mut command = Command::new(browser);
    let home = picture.parent().unwrap();
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--window-size=1080,1400",
    ]);
    command.arg(format!("--user-data-dir={}", home.join("browser").display()));
    command.arg(format!("--screenshot={}", picture.display())).arg("--dump-dom").arg(page).env("HOME", home);
    let output = finish(&mut command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let console: Vec<&str> = said.lines().filter(|line| line.contains("CONSOLE")).collect();
    Some((String::from_utf8_lossy(&output.stdout).into_owned(), console.join("\n")))
}

#[test]
fn a_browser_shows_it_without_complaints() {
    let folder = tempfile::tempdir().unwrap();
    let (page, picture) = (folder.path().join("report.html"), folder.path().join("shot.png"));
    succeed(Command::new(jobgate()).args(["report", "-o"]).arg(&page).arg(kept("fixed.journal")));
    let Some((dom, console)) = browse(&page, &picture) else { return };
    assert_eq!(console, "");
    let texts = [
        "&lt;b&gt;libs&lt;/b&gt;",
        "held for 4.5 s: cpu 720000",
        "What held it back most was -j",
        "7 records are missing",
        "xz",
    ];
    for text in texts {
        assert!(dom.contains(text), "{text}: {dom}");
    }
    assert!(!dom.contains("<b>libs"), "a name is no tag");
    let shot = std::fs::read(&picture).unwrap();
    assert!(shot.starts_with(b"\x89PNG") && shot.len() > 20_000, "{} bytes", shot.len());
    // A complaint would be seen.
    std::fs::write(&page, "<script>console.error('no')</script>").unwrap();
    assert!(browse(&page, &picture).is_some_and(|(_, console)| console.contains("no")));
}

#[test]
fn the_report_of_a_real_build() {
    let folder = tempfile::tempdir().unwrap();
    let Some(tool) = Build::Make(SystemMake).lay_jobs(folder.path(), 40, 0.1) else { return };
    let journal = folder.path().join("j");
    let mut command = run(&["-j3", "--label", "the app", "--journal", "j"], &[&tool[0], "-s", "-j3"]);
    succeed(command.current_dir(&folder).env("LOG", folder.path().join("log")));
    for name in ["a.html", "a.svg"] {
        succeed(Command::new(jobgate()).args(["report", "j", "-o", name]).current_dir(&folder));
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text.contains("1 the app (pid "), "{text}");
        assert!(text.contains("-j: all 3 jobs that may run did"), "{text}");
    }
    // A folder of journals, among them something else.
    std::fs::create_dir(folder.path().join("all")).unwrap();
    std::fs::rename(&journal, folder.path().join("all/1")).unwrap();
    std::fs::write(folder.path().join("all/2"), "hello\n").unwrap();
    succeed(Command::new(jobgate()).args(["report", "all", "-o", "b.html"]).current_dir(&folder));
    let refused = |args: &[&str]| {
        let output = finish(Command::new(jobgate()).arg("report").args(args).current_dir(&folder));
        assert_eq!(output.status.code(), Some(125), "{args:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(refused(&["all", "-o", "b.png"]).contains("'b.png': give a name that ends in .html or .svg"));
    assert!(refused(&["all/2", "-o", "b.svg"]).contains("all/2: this is no journal"));
    assert!(refused(&["none", "-o", "b.svg"]).contains("none: No such file"));
    assert!(refused(&["all", "-o", "/proc/b.svg"]).contains("can't write '/proc/b.svg'"));
    std::fs::remove_file(folder.path().join("all/1")).unwrap();
    assert!(refused(&["all", "-o", "b.svg"]).contains("no journal is in this folder"));
}
