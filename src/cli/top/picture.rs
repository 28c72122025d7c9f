//! Makes docs/images/top.svg of a buffer: a terminal in which text stays text.

use std::fmt::Write as _;

use ratatui_core::{
    buffer::Buffer,
    style::{Color, Modifier},
};

/// A cell, in pixels.
const WIDE: u16 = 8;
const HIGH: u16 = 18;
/// Around the cells.
const EDGE: u16 = 14;
const PAPER: &str = "#11161c";
const INK: &str = "#d5dce4";

/// Runs of cells that look the same, each with its place, so that no reader's font can move a column.
pub(super) fn svg(buffer: &Buffer) -> String {
    let area = buffer.area;
    let (width, height) = (area.width * WIDE + 2 * EDGE, area.height * HIGH + 2 * EDGE);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"13\" fill=\"{INK}\">\n\
         <title>tidegate top</title>\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{PAPER}\"/>\n"
    );
    for row in 0..area.height {
        let mut column = 0;
        while column < area.width {
            let first = &buffer[(column, row)];
            let same = |at: &u16| buffer[(*at, row)].style() == first.style();
            let end = (column..area.width).take_while(same).last().unwrap_or(column) + 1;
            let text: String = (column..end).map(|at| buffer[(at, row)].symbol()).collect();
            run(&mut svg, column, row, &text, (first.fg, first.modifier));
            column = end;
        }
    }
    svg + "</svg>\n"
}

fn run(svg: &mut String, column: u16, row: u16, text: &str, (colour, modifier): (Color, Modifier)) {
    let (x, y) = (EDGE + column * WIDE, EDGE + row * HIGH);
    let cells = text.chars().count();
    let reversed = modifier.contains(Modifier::REVERSED);
    if reversed {
        let width = cells * usize::from(WIDE);
        let _ = writeln!(svg, "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{HIGH}\" fill=\"{INK}\"/>");
    }
    let ink = if reversed { PAPER } else { ink(colour) };
    let weight = if modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
    // Words apart, so that spaces need no width.
    let mut at = 0;
    for word in text.split_inclusive(' ') {
        let shown = word.trim_end_matches(' ');
        if !shown.is_empty() {
            let (x, length) = (usize::from(x) + at * usize::from(WIDE), shown.chars().count() * usize::from(WIDE));
            let shown = shown.replace('&', "&amp;").replace('<', "&lt;");
            let _ = writeln!(
                svg,
                "<text x=\"{x}\" y=\"{}\" textLength=\"{length}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{ink}\"{weight}>{shown}</text>",
                y + 13
            );
        }
        at += word.chars().count();
    }
}

const fn ink(colour: Color) -> &'static str {
    match colour {
        Color::Red => "#ff7b72",
        Color::Green => "#56d364",
        Color::Yellow => "#e3b341",
        Color::Blue => "#6cb6ff",
        Color::Cyan => "#76c7d6",
        _ => INK,
    }
}
