//! Columns for people: no borders, as wide as they need to be.

use std::fmt::Write as _;

use crate::console::{Paint, brief};

/// Longest cell.
const LONGEST: usize = 60;
/// Longest cell where nothing should be cut: in the last column, and in one of names that people copy.
const WHOLE: usize = 400;

pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    whole: Option<usize>,
}

impl Table {
    pub fn new(head: &[&'static str]) -> Self {
        Self {
            head: head.to_vec(),
            rows: Vec::new(),
            whole: None,
        }
    }

    /// Cuts nothing in a column either that is not the last one.
    pub fn whole(mut self, column: usize) -> Self {
        self.whole = Some(column);
        self
    }

    pub fn row<const N: usize>(&mut self, cells: [&str; N]) {
        let last = N.saturating_sub(1);
        let limit = |column| {
            if column == last || Some(column) == self.whole {
                WHOLE
            } else {
                LONGEST
            }
        };
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

    #[test]
    fn names_that_people_copy_are_not_cut() {
        let name = "a".repeat(150);
        for (table, is_whole) in [
            (Table::new(&["IMAGE", "BY"]), false),
            (Table::new(&["IMAGE", "BY"]).whole(0), true),
        ] {
            let mut table = table;
            table.row([&name, "x"]);
            assert_eq!(table.lines(Paint::off()).contains(&name), is_whole);
        }
    }
}
