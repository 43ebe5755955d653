//! What a journal says, made visible: its story, and the picture and the page of it.
//!
//! Pure: doesn't know files, nor when anything is looked at.

mod axis;
mod clock;
pub mod grid;
pub mod levels;
pub mod page;
mod path;
pub mod picture;
pub mod replay;
pub mod story;
pub mod words;
