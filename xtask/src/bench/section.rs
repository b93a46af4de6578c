//! Sections of a page that several commands write.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Puts a section into the file: in the place of the one with that title, or behind all others.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, title: &str, section: &str) -> Result<()> {
    let before = fs::read_to_string(path).unwrap_or_default();
    fs::write(path, with_section(&before, title, section))
        .with_context(|| format!("could not write {}", path.display()))
}

fn with_section(page: &str, title: &str, section: &str) -> String {
    let head = format!("\n## {title}\n");
    let Some(from) = page.find(&head) else {
        return format!("{}\n{head}{section}", page.trim_end_matches('\n'));
    };
    let rest = &page[from + head.len()..];
    let next = rest.find("\n## ").map_or("", |at| &rest[at..]);
    format!("{}{head}{section}{next}", &page[..from])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_its_predecessor() {
        let page = "# Page\n\n## Other\n\ntext\n";
        let first = with_section(page, "Mine", "\nold\n");
        assert_eq!(first, "# Page\n\n## Other\n\ntext\n\n## Mine\n\nold\n");
        let more = format!("{first}\n## Last\n\nend\n");
        assert_eq!(
            with_section(&more, "Mine", "\nnew\n"),
            "# Page\n\n## Other\n\ntext\n\n## Mine\n\nnew\n\n## Last\n\nend\n"
        );
    }
}
