//! `jobgate report`: a journal as a page or a picture.
//!
//! Doesn't know what is drawn.

use super::Failure;
use super::args::ReportArgs;
use super::journals::Journals;
use crate::report::story::Story;
use crate::report::{page, picture};
use crate::sys::files;

/// Draws it.
pub fn report(args: &ReportArgs) -> Result<(), Failure> {
    let ending = args.output.extension().and_then(|ending| ending.to_str());
    let is_page = match ending {
        Some("html" | "htm") => true,
        Some("svg") => false,
        _ => {
            return Err(Failure(format!(
                "-o '{}': give a name that ends in .html or .svg",
                args.output.display()
            )));
        }
    };
    let journals = Journals::read(&args.journal)?;
    let mut story = Story::default();
    let notes = journals.each(|record| story.take(record));
    story.end();
    let text = if is_page { page::draw(&story, &notes) } else { picture::draw(&story, true) };
    files::put(&args.output, text.as_bytes())
        .map_err(|error| Failure(format!("can't write '{}': {error}", args.output.display())))
}
