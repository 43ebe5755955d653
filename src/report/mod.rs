//! What a journal says, made visible: its story, and the picture and the page of it.
//!
//! Pure: doesn't know files, nor when anything is looked at.

mod axis;
pub mod grid;
pub mod page;
mod path;
pub mod picture;
pub mod story;
pub mod words;
