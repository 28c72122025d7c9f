//! The terminal: taken over for a while, and given back however that ends.

use std::{
    io::{self, BufWriter, Stdout, Write},
    panic,
    sync::Once,
    thread,
};

use crossterm::{
    cursor::{Hide, MoveTo, Show},
    event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    queue,
    style::{Attribute, Color as TerminalColor, Print, SetAttribute, SetForegroundColor},
    terminal::{self, Clear, EnterAlternateScreen, LeaveAlternateScreen},
};
use ratatui_core::{
    backend::{Backend, ClearType, WindowSize},
    buffer::Cell,
    layout::{Position, Size},
    style::{Color, Modifier},
    terminal::Terminal,
};
use tokio::sync::mpsc;

use super::key::Key;

/// Keys that wait to be obeyed.
const KEYS_MAX: usize = 64;

/// The terminal while it is ours.
#[derive(Debug)]
pub(super) struct Screen {
    pub(super) terminal: Terminal<Writer>,
}

impl Screen {
    /// Takes the terminal over. A panic gives it back before its message is written.
    pub(super) fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let report = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                restore();
                report(info);
            }));
        });
        terminal::enable_raw_mode()?;
        // From here on it is given back also where the next line fails.
        let mut writer = Writer(BufWriter::new(io::stdout()));
        let screen = queue!(writer.0, EnterAlternateScreen, Hide).and_then(|()| writer.0.flush());
        match screen.and_then(|()| Terminal::new(writer)) {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back; also twice.
fn restore() {
    let mut out = io::stdout();
    let _ = queue!(out, SetAttribute(Attribute::Reset), Show, LeaveAlternateScreen);
    let _ = out.flush();
    let _ = terminal::disable_raw_mode();
}

/// What is pressed; `None` is a screen of another size. Ends when the receiver is dropped or the terminal is gone.
pub(super) fn keys() -> io::Result<mpsc::Receiver<Option<Key>>> {
    let (sender, receiver) = mpsc::channel(KEYS_MAX);
    thread::Builder::new().name("keys".to_owned()).spawn(move || {
        while let Ok(event) = event::read() {
            let told = match event {
                Event::Key(key) if key.kind != KeyEventKind::Release => key_of(key).map(Some),
                Event::Resize(..) => Some(None),
                _ => None,
            };
            if told.is_some_and(|told| sender.blocking_send(told).is_err()) {
                return;
            }
        }
    })?;
    Ok(receiver)
}

fn key_of(event: KeyEvent) -> Option<Key> {
    if event.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
        let ends = event.modifiers.contains(KeyModifiers::CONTROL) && matches!(event.code, KeyCode::Char('c' | 'd'));
        return ends.then_some(Key::Interrupt);
    }
    Some(match event.code {
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}

/// Writes cells as the terminal wants them. The backend that is a crate of its own would bring ten more.
#[derive(Debug)]
pub(super) struct Writer(BufWriter<Stdout>);

impl Backend for Writer {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let out = &mut self.0;
        let (mut colour, mut modifier) = (Color::Reset, Modifier::empty());
        let mut next = None;
        for (x, y, cell) in content {
            // Behind a wide character, or one that terminals disagree about, the place is said again.
            if next != Some((x, y)) {
                queue!(out, MoveTo(x, y))?;
            }
            next = cell.symbol().is_ascii().then_some((x + 1, y));
            if cell.modifier != modifier {
                // A reset takes the colour along.
                queue!(out, SetAttribute(Attribute::Reset))?;
                for (of, attribute) in [(Modifier::BOLD, Attribute::Bold), (Modifier::REVERSED, Attribute::Reverse)] {
                    if cell.modifier.contains(of) {
                        queue!(out, SetAttribute(attribute))?;
                    }
                }
                (colour, modifier) = (Color::Reset, cell.modifier);
            }
            if cell.fg != colour {
                queue!(out, SetForegroundColor(colour_of(cell.fg)))?;
                colour = cell.fg;
            }
            queue!(out, Print(cell.symbol()))?;
        }
        queue!(out, SetAttribute(Attribute::Reset))
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        queue!(self.0, Hide)
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        queue!(self.0, Show)
    }

    /// Nothing is drawn at the cursor, so nobody asks the terminal where it is.
    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let Position { x, y } = position.into();
        queue!(self.0, MoveTo(x, y))
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        queue!(
            self.0,
            Clear(match region {
                ClearType::All => terminal::ClearType::All,
                ClearType::AfterCursor => terminal::ClearType::FromCursorDown,
                ClearType::BeforeCursor => terminal::ClearType::FromCursorUp,
                ClearType::CurrentLine => terminal::ClearType::CurrentLine,
                ClearType::UntilNewLine => terminal::ClearType::UntilNewLine,
            })
        )
    }

    fn size(&self) -> io::Result<Size> {
        let (width, height) = terminal::size()?;
        Ok(Size { width, height })
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The colours that the screen uses.
const fn colour_of(colour: Color) -> TerminalColor {
    match colour {
        Color::Red => TerminalColor::DarkRed,
        Color::Green => TerminalColor::DarkGreen,
        Color::Yellow => TerminalColor::DarkYellow,
        Color::Blue => TerminalColor::DarkBlue,
        Color::Cyan => TerminalColor::DarkCyan,
        _ => TerminalColor::Reset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_c_is_no_letter() {
        let event = |code, modifiers| key_of(KeyEvent::new(code, modifiers));
        assert_eq!(event(KeyCode::Char('c'), KeyModifiers::NONE), Some(Key::Char('c')));
        assert_eq!(event(KeyCode::Char('G'), KeyModifiers::SHIFT), Some(Key::Char('G')));
        assert_eq!(event(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Interrupt));
        assert_eq!(event(KeyCode::Char('q'), KeyModifiers::ALT), None);
        assert_eq!(event(KeyCode::F(1), KeyModifiers::NONE), None);
    }
}
