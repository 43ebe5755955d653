//! The corpora of the fuzz targets (tests/fuzz) as plain tests: what was once found to be interesting is read again each time.
//!
//! Doesn't know what must hold of them (support/parsers.rs).

#[path = "support/parsers.rs"]
mod parsers;

use std::path::Path;

#[test]
fn every_text_of_every_corpus_is_read() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (name, check) in parsers::ALL {
        let entries = std::fs::read_dir(corpora.join(name)).expect("each has a corpus");
        let texts: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
        assert!(texts.len() >= 3, "{name}: {} texts", texts.len());
        for text in texts {
            let bytes = std::fs::read(&text).expect("a file");
            // Its name, if it panics.
            let read = std::panic::catch_unwind(|| check(&bytes));
            assert!(read.is_ok(), "{}", text.display());
        }
    }
}
