//! What figures are to be and must not exceed, and which do.

use std::io;

/// What a figure is to be, and what it must not exceed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    goal: f64,
    max: f64,
}

impl Bound {
    /// Where the goal is met and must stay so.
    pub(crate) const fn met(goal: f64) -> Self {
        Self::above(goal, goal)
    }

    /// Where the goal is missed, or met so narrowly that other work of the machine decides. `max`: what holds.
    pub(crate) const fn above(goal: f64, max: f64) -> Self {
        Self { goal, max }
    }
}

/// The figures that have been judged.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    exceeded: Vec<String>,
}

impl Verdicts {
    /// Judges the figure of this name. What the report says of it.
    pub(crate) fn judge(&mut self, name: &str, figure: f64, Bound { goal, max }: Bound) -> String {
        let judged = if figure <= goal { "met" } else { "MISSED" };
        // What is no number exceeds it too.
        let is_kept = figure <= max;
        if !is_kept {
            self.exceeded.push(format!("{name}: {figure:.2}, at most {max}"));
        }
        format!("; goal {goal}: {judged}; at most {max}: {}", if is_kept { "kept" } else { "EXCEEDED" })
    }

    /// A figure that has a maximum could not be measured.
    pub(crate) fn lack(&mut self, name: &str) {
        self.exceeded.push(format!("{name}: not measured"));
    }

    /// # Errors
    /// A figure exceeds its maximum.
    pub(crate) fn all_kept(&self) -> io::Result<()> {
        if self.exceeded.is_empty() { Ok(()) } else { Err(io::Error::other(self.exceeded.join("\n"))) }
    }
}
