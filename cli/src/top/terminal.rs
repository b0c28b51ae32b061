//! The terminal, taken over and given back: on the way out, on a signal and on a panic.

use std::io::{self, IsTerminal, Stdout, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use tokio::sync::mpsc;

use super::state::Key;

/// The keyboard's thread looks so often whether anybody listens still.
const LOOK: Duration = Duration::from_millis(200);
/// Keys typed ahead.
const KEYS_MAX: usize = 64;

/// Whether the terminal is in our hands.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// What comes from the terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Typed {
    Key(Key),
    /// It has another size now.
    Resized,
}

/// The whole screen, until it is dropped.
pub(super) struct Screen {
    pub(super) terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    pub(super) fn take() -> io::Result<Self> {
        give_back_on_panic();
        TAKEN.store(true, Ordering::SeqCst);
        // From here on, whatever fails, it is given back.
        let given_back = |error| {
            give_back();
            error
        };
        enable_raw_mode().map_err(given_back)?;
        execute!(io::stdout(), EnterAlternateScreen, Hide).map_err(given_back)?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout())).map_err(given_back)?;
        Ok(Self { terminal })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Both ends are terminals: what is typed can be read, and what is drawn seen.
pub(super) fn is_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // A terminal that is gone needs nothing any more.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
        let _ = io::stdout().flush();
    }
}

/// A message about a panic is to be read, and the shell to be used after it.
fn give_back_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        give_back();
        before(panic);
    }));
}

/// Reads the keyboard on a thread of its own, for reading blocks, until nobody listens.
pub(super) fn keys() -> mpsc::Receiver<io::Result<Typed>> {
    let (tell, told) = mpsc::channel(KEYS_MAX);
    std::thread::spawn(move || {
        while !tell.is_closed() {
            let typed = match event::poll(LOOK) {
                Ok(false) => continue,
                Ok(true) => event::read().map(typed),
                Err(error) => Err(error),
            };
            let failed = typed.is_err();
            let Some(typed) = typed.transpose() else {
                continue;
            };
            // The screen is gone, or the keyboard is.
            if tell.blocking_send(typed).is_err() || failed {
                return;
            }
        }
    });
    told
}

fn typed(event: Event) -> Option<Typed> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => key_of(key).map(Typed::Key),
        Event::Resize(..) => Some(Typed::Resized),
        _ => None,
    }
}

fn key_of(key: KeyEvent) -> Option<Key> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('c') if control => Key::Interrupt,
        KeyCode::Char(_) if control => return None,
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}
