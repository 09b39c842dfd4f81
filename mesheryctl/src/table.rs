//! Columns for people: no borders, as wide as they need to be.

use std::fmt::Write as _;

use crate::console::{Paint, brief};

/// Longest cell; the last column is not cut.
const LONGEST: usize = 60;

pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&'static str]) -> Self {
        Self {
            head: head.to_vec(),
            rows: Vec::new(),
        }
    }

    pub fn row<const N: usize>(&mut self, cells: [&str; N]) {
        let last = N.saturating_sub(1);
        let limit = |column| if column == last { 200 } else { LONGEST };
        self.rows.push(
            cells
                .iter()
                .enumerate()
                .map(|(column, cell)| brief(cell, limit(column)))
                .collect(),
        );
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn lines(&self, paint: Paint) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count())
                .chain([self.head[column].chars().count()])
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: Vec<&str>| {
            let mut line = String::new();
            for (cell, width) in cells.iter().zip(&widths) {
                let _ = write!(line, "{cell:width$}  ");
            }
            line.trim_end().to_owned()
        };
        let mut lines = vec![paint.bold(&line(self.head.clone()))];
        lines.extend(
            self.rows
                .iter()
                .map(|row| line(row.iter().map(String::as_str).collect())),
        );
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_an_escape_sequence_is_shown_not_obeyed() {
        let mut table = Table::new(&["NAME", "VERSION"]);
        table.row(["lattice", "1"]);
        table.row(["x\x1b[2J", ""]);
        let lines = table.lines(Paint::off());
        assert_eq!(lines, "NAME        VERSION\nlattice     1\nx\\u{1b}[2J");
    }
}
