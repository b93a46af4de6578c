//! Tables and paragraphs for people.

/// Longest line of a paragraph.
pub(super) const WIDTH: usize = 100;

/// Writes a row: each cell as wide as its column, the first `left` of them to the left.
pub(super) fn row(out: &mut String, columns: &[usize], left: usize, cells: &[String]) {
    let mut line = String::new();
    for (index, (cell, width)) in cells.iter().zip(columns).enumerate() {
        let width = *width;
        if index < left {
            line.push_str(&format!("{cell:width$}"));
        } else {
            line.push_str(&format!("{cell:>width$}"));
        }
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

/// Writes a paragraph.
pub(super) fn paragraph(out: &mut String, text: &str) {
    let mut width = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            out.push('\n');
            width = 0;
        }
        if width > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += length;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_paragraphs_keep_their_widths() {
        let mut out = String::new();
        let cells = ["a", "b", "12"].map(str::to_owned);
        row(&mut out, &[4, 4, 6], 2, &cells);
        assert_eq!(out, "a   b       12\n");
        let mut out = String::new();
        paragraph(&mut out, &"word ".repeat(60));
        assert_eq!(out.lines().count(), 3);
        assert!(out.lines().all(|line| line.len() <= WIDTH));
        assert_eq!(out.split_whitespace().count(), 60);
    }
}
