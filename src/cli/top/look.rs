//! How things are told apart: by colour where that is wanted, and always by a word beside it.

use ratatui_core::style::{Color, Modifier, Style};

/// With colours or without.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) colour: bool,
}

impl Look {
    pub(super) fn label(self) -> Style {
        self.of(Color::Cyan)
    }

    pub(super) fn good(self) -> Style {
        self.of(Color::Green)
    }

    pub(super) fn fair(self) -> Style {
        self.of(Color::Yellow)
    }

    pub(super) fn bad(self) -> Style {
        self.of(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn graph(self) -> Style {
        self.of(Color::Blue)
    }

    /// Of a bar over the whole width.
    pub(super) fn bar(self) -> Style {
        Style::default().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn strong(self) -> Style {
        Style::default().add_modifier(Modifier::BOLD)
    }

    /// Of a grade of quality, or another one's.
    pub(super) fn quality(self, name: &str) -> Style {
        match name {
            "excellent" | "good" => self.good(),
            "fair" => self.fair(),
            "poor" => self.bad(),
            _ => Style::default(),
        }
    }

    fn of(self, colour: Color) -> Style {
        if self.colour { Style::default().fg(colour) } else { Style::default() }
    }
}
