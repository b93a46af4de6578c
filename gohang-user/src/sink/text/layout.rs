//! Lines for people: colour, wrapping, tables.

use unicode_width::UnicodeWidthStr as _;

/// Widest line that is made, whatever the terminal has.
pub const MAX_WIDTH: usize = 100;
/// Narrowest line that is made.
const MIN_WIDTH: usize = 40;

/// A width to write for: the terminal's, within bounds.
#[must_use]
pub fn usable_width(terminal: Option<usize>) -> usize {
    terminal.unwrap_or(MAX_WIDTH).clamp(MIN_WIDTH, MAX_WIDTH)
}

/// Whether text is coloured, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Off, everything stays plain.
    pub colour: bool,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// What a block is about.
    #[must_use]
    pub fn title(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// What matters less.
    #[must_use]
    pub fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Something is slow.
    #[must_use]
    pub fn warning(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Something is wrong.
    #[must_use]
    pub fn critical(self, text: &str) -> String {
        self.paint("31;1", text)
    }
}

/// Columns that a text takes.
#[must_use]
pub fn columns(text: &str) -> usize {
    text.width()
}

/// Cuts a text to so many columns; `~` stands for what is gone.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    for c in text.chars() {
        if columns(&out) + columns(c.encode_utf8(&mut [0; 4])) + 1 > width {
            break;
        }
        out.push(c);
    }
    if width > 0 {
        out.push('~');
    }
    out
}

/// Breaks a text into lines of at most `width` columns, the first with `first`
/// in front, the others with as many spaces as `rest`. A number stays with its
/// unit; a word that is too long has a line of its own.
#[must_use]
pub fn wrap(text: &str, first: &str, rest: usize, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut empty = true;
    for word in words(text) {
        if !empty && columns(&line) + 1 + columns(&word) > width {
            lines.push(std::mem::replace(&mut line, " ".repeat(rest)));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(&word);
        empty = false;
    }
    lines.push(line);
    lines
}

/// Words, with a unit glued to its number.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let unit = word.trim_end_matches([',', ';', ')', ':', '.']);
        let is_unit = ["ns", "us", "ms", "s", "h", "%", "CPU"].contains(&unit);
        match words.last_mut() {
            Some(last) if is_unit && last.ends_with(|c: char| c.is_ascii_digit()) => {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table in plain text: columns two spaces apart, no lines.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns: heading and alignment.
    #[must_use]
    pub fn new(columns: &[(&str, Align)]) -> Self {
        Self {
            columns: columns.iter().map(|column| column.1).collect(),
            rows: vec![columns.iter().map(|column| column.0.to_owned()).collect()],
        }
    }

    /// Adds a row; cells beyond the columns are not shown.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// The heading and the rows as lines, indented. The widest left-aligned
    /// column is cut where a line would be wider than `width`.
    #[must_use]
    pub fn lines(&self, indent: usize, width: usize, style: Style) -> Vec<String> {
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|index| {
                let cells = self.rows.iter().filter_map(|row| row.get(index));
                cells.map(|cell| columns(cell)).max().unwrap_or(0)
            })
            .collect();
        let total = indent + widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        let widest = (0..widths.len())
            .filter(|index| self.columns[*index] == Align::Left)
            .max_by_key(|index| widths[*index]);
        if let Some(widest) = widest {
            let least = columns(&self.rows[0][widest]).max(8);
            let over = total.saturating_sub(width);
            widths[widest] = widths[widest]
                .saturating_sub(over)
                .max(least.min(widths[widest]));
        }
        let line = |(number, row): (usize, &Vec<String>)| {
            let mut line = " ".repeat(indent);
            for (index, width) in widths.iter().enumerate() {
                let cell = cut(row.get(index).map_or("", String::as_str), *width);
                let space = " ".repeat(width.saturating_sub(columns(&cell)));
                if index > 0 {
                    line.push_str("  ");
                }
                match self.columns[index] {
                    Align::Left => line.extend([cell, space]),
                    Align::Right => line.extend([space, cell]),
                }
            }
            let line = line.trim_end();
            if number == 0 {
                style.faint(line)
            } else {
                line.to_owned()
            }
        };
        self.rows.iter().enumerate().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: Style = Style { colour: false };

    #[test]
    fn colour_only_if_told() {
        assert_eq!(PLAIN.critical("x"), "x");
        assert_eq!(Style { colour: true }.critical("x"), "\x1b[31;1mx\x1b[0m");
        assert_eq!(Style { colour: true }.title(""), "");
    }

    #[test]
    fn numbers_stay_with_their_units() {
        let text = "threads out of quota 78 % of the time (longest 96 ms); more";
        assert_eq!(
            wrap(text, "* ", 2, 25),
            [
                "* threads out of quota",
                "  78 % of the time",
                "  (longest 96 ms); more"
            ]
        );
        assert_eq!(wrap("", "  ", 2, 25), ["  "]);
        assert_eq!(
            wrap("averyveryverylongword x", "", 1, 5),
            ["averyveryverylongword", " x"]
        );
    }

    #[test]
    fn tables_line_up_and_fit() {
        let mut table = Table::new(&[("name", Align::Left), ("n", Align::Right)]);
        table.row(["short", "1"]);
        table.row(["日本", "1000"]);
        assert_eq!(
            table.lines(1, 80, PLAIN),
            [" name      n", " short     1", " 日本   1000"]
        );
        let mut wide = Table::new(&[("name", Align::Left), ("n", Align::Right)]);
        wide.row(["a very long name indeed", "5"]);
        assert_eq!(
            wide.lines(0, 15, PLAIN),
            ["name          n", "a very long~  5"]
        );
    }

    #[test]
    fn widths_have_bounds() {
        assert_eq!(usable_width(None), 100);
        assert_eq!(usable_width(Some(200)), 100);
        assert_eq!(usable_width(Some(72)), 72);
        assert_eq!(usable_width(Some(0)), 40);
    }

    proptest! {
        #[test]
        fn cut_is_never_wider(text in "\\PC*", width in 0usize..20) {
            prop_assert!(columns(&cut(&text, width)) <= width);
        }

        #[test]
        fn wrapping_keeps_the_words(text in "[a-z0-9 %,;ms]{0,200}", width in 5usize..60) {
            let joined = wrap(&text, "", 0, width).join(" ");
            let words: Vec<&str> = text.split_whitespace().collect();
            prop_assert_eq!(joined.split_whitespace().collect::<Vec<_>>(), words);
        }
    }
}
