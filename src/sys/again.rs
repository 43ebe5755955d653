//! What a signal has interrupted is done again; what came short is gone on with.
//!
//! Doesn't know what is done. No handler of ours ever runs, but a process that is stopped and continued may find a call interrupted
//! all the same (signal(7)), and a file system may let signals interrupt any.

use std::io;

/// An error that may say that.
pub trait MayBeInterrupted {
    /// It does.
    fn is_interrupted(&self) -> bool;
}

impl MayBeInterrupted for io::Error {
    fn is_interrupted(&self) -> bool {
        self.kind() == io::ErrorKind::Interrupted
    }
}

impl MayBeInterrupted for nix::Error {
    fn is_interrupted(&self) -> bool {
        *self == nix::Error::EINTR
    }
}

/// The call's result, once it isn't interrupted. Async-signal-safe where the call is.
pub fn again<T, E: MayBeInterrupted>(mut call: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    loop {
        match call() {
            Err(error) if error.is_interrupted() => {}
            done => return done,
        }
    }
}

/// Fills `buffer` by `read`, which is told how much is there, until what is there is enough, or the buffer is full, or nothing more
/// comes: how much that is.
pub fn fill(
    buffer: &mut [u8],
    mut read: impl FnMut(&mut [u8], usize) -> io::Result<usize>,
    is_enough: impl Fn(&[u8]) -> bool,
) -> io::Result<usize> {
    let mut there = 0;
    while there < buffer.len() && !is_enough(&buffer[..there]) {
        match again(|| read(&mut buffer[there..], there))? {
            0 => break,
            more => there += more,
        }
    }
    Ok(there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupted_calls_are_made_again_and_short_ones_gone_on_with() {
        let text = b"one line\nand more";
        let mut calls = 0;
        let mut buffer = [0; 64];
        let mut byte_by_byte = |to: &mut [u8], at: usize| {
            calls += 1;
            match calls % 2 {
                0 => Err(io::ErrorKind::Interrupted.into()),
                _ => {
                    let part = &text[at..(at + 1).min(text.len())];
                    to[..part.len()].copy_from_slice(part);
                    Ok(part.len())
                }
            }
        };
        let there = fill(&mut buffer, &mut byte_by_byte, |there| there.ends_with(b"\n")).unwrap();
        assert_eq!(&buffer[..there], b"one line\n");
        let there = fill(&mut buffer, &mut byte_by_byte, |_| false).unwrap();
        assert_eq!(&buffer[..there], text);
        assert_eq!(fill(&mut buffer[..3], byte_by_byte, |_| false).unwrap(), 3);
        let refused = fill(&mut buffer, |_, _| Err(io::ErrorKind::NotFound.into()), |_| false);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
