//! `jobgate top`: how a gate stands, drawn anew each second on a terminal.
//!
//! Doesn't know how it looks (`screen`), nor where the figures come from. The terminal is given back as it was, however this ends.

mod history;
mod screen;

use super::args::TopArgs;
use super::{Failure, ask, gate};
use crate::proto::view::View;
use crate::proxy::link::Link;
use crate::sys::child;
use crate::sys::clock::Clock;
use crate::sys::notify::{Kind, Signals};
use history::History;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use screen::Screen;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Between two questions.
const BEAT: Duration = Duration::from_secs(1);

/// So long at most a signal isn't seen, nor that the terminal has another size.
const SOON: Duration = Duration::from_millis(100);

/// Shows it until the user has seen enough.
pub fn top(args: &TopArgs) -> Result<(), Failure> {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() || is_dumb {
        return Err(Failure("top needs a terminal: 'jobgate status --watch' writes anywhere".to_owned()));
    }
    let link = gate::running(args.socket.as_deref())?;
    let failed = |error: io::Error| Failure(format!("the terminal can't be used: {error}"));
    let is_to_stop = Arc::new(AtomicBool::new(false));
    watch_signals(Arc::clone(&is_to_stop)).map_err(failed)?;
    let terminal = ratatui::try_init().map_err(|error| {
        ratatui::restore();
        failed(error)
    })?;
    let ended = Top::new(link, terminal, is_to_stop).run(args);
    ratatui::restore();
    ended.map_err(failed)
}

/// Who is to end gives the terminal back. Not in the loop: where the terminal is gone crossterm never comes back from it.
fn watch_signals(is_to_stop: Arc<AtomicBool>) -> io::Result<()> {
    Signals::take()?.watch(move |arrival| match arrival.kind {
        Kind::Key => is_to_stop.store(true, Ordering::Relaxed),
        Kind::Plain if arrival.is_end() => {
            ratatui::restore();
            child::end_as(ExitStatus::from_raw(arrival.number()))
        }
        Kind::Plain | Kind::Asked | Kind::ChildChanged => {}
    })
}

struct Top {
    clock: Clock,
    link: Option<Link>,
    terminal: DefaultTerminal,
    /// Somebody else wants it to stop, as Ctrl-Z does.
    is_to_stop: Arc<AtomicBool>,
    history: History,
    view: View,
    screen: Screen,
}

impl Top {
    fn new(link: Link, terminal: DefaultTerminal, is_to_stop: Arc<AtomicBool>) -> Top {
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Top {
            clock: Clock::start(),
            link: Some(link),
            terminal,
            is_to_stop,
            history: History::default(),
            view: View::default(),
            screen: Screen::new(is_plain),
        }
    }

    /// Until a key ends it.
    fn run(mut self, args: &TopArgs) -> io::Result<()> {
        let mut due = self.clock.now();
        loop {
            let now = self.clock.now();
            if now >= due {
                self.look(args);
                due = now + BEAT;
            }
            self.screen.is_gone = self.link.is_none();
            let (view, history, screen) = (&self.view, &self.history, &mut self.screen);
            self.terminal.draw(|frame| screen.draw(frame, view, history))?;
            if self.is_to_stop.swap(false, Ordering::Relaxed) {
                self.stop()?;
            }
            let wait = due.since(self.clock.now()).min(SOON);
            while event::poll(if self.screen.is_new { Duration::ZERO } else { wait })? {
                if let Event::Key(key) = event::read()?
                    && !self.press(key)?
                {
                    return Ok(());
                }
                self.screen.is_new = true;
            }
            self.screen.is_new = false;
        }
    }

    /// Asks how the gate stands; one that is gone is looked for.
    fn look(&mut self, args: &TopArgs) {
        if self.link.is_none() {
            self.link = gate::running(args.socket.as_deref()).ok();
        }
        let Some(link) = &mut self.link else { return };
        match ask::ask(link) {
            Ok(view) => {
                self.history.add(self.clock.now(), &view);
                self.view = view;
            }
            Err(_) => self.link = None,
        }
    }

    /// `false`: it was seen enough.
    fn press(&mut self, key: KeyEvent) -> io::Result<bool> {
        let with_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            _ if key.kind == KeyEventKind::Release => {}
            KeyCode::Char('c') if with_control => return Ok(false),
            KeyCode::Char('z') if with_control => self.stop()?,
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => return Ok(false),
            KeyCode::Char('l') if with_control => self.terminal.clear()?,
            KeyCode::Char('?' | 'h') => self.screen.helps = !self.screen.helps,
            KeyCode::Up | KeyCode::Char('k') => self.screen.scroll(-1),
            KeyCode::Down | KeyCode::Char('j') => self.screen.scroll(1),
            KeyCode::PageUp => self.screen.scroll(-10),
            KeyCode::PageDown => self.screen.scroll(10),
            KeyCode::Home => self.screen.scroll(i32::MIN),
            _ => {}
        }
        Ok(true)
    }

    /// As job control wants it: the shell has its terminal meanwhile.
    fn stop(&mut self) -> io::Result<()> {
        ratatui::restore();
        child::stop_self();
        self.terminal = ratatui::try_init()?;
        self.terminal.clear()
    }
}
