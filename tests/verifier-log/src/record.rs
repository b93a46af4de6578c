//! The file with what the verifier said.

use std::ffi::{CStr, OsStr};
use std::fs::OpenOptions;
use std::io::{self, Write as _};

/// Appends what was said of a program, in one piece: several are loaded at a time.
///
/// # Errors
/// The file cannot be written.
pub fn append(file: &OsStr, program: &str, said: &CStr) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    file.write_all(text(program, &said.to_string_lossy()).as_bytes())
}

fn text(program: &str, said: &str) -> String {
    let mut text = format!("program {program}\n");
    for line in said.lines() {
        text.push('\t');
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_stands_behind_tabs() {
        assert_eq!(text("a", "b c\nd\n"), "program a\n\tb c\n\td\n");
        assert_eq!(text("a", ""), "program a\n");
    }

    #[test]
    fn records_are_appended() {
        let file = std::env::temp_dir().join(format!("gohang-record-{}", std::process::id()));
        let said = c"processed 1 insns";
        let done = append(file.as_os_str(), "a", said)
            .and_then(|()| append(file.as_os_str(), "b", said))
            .and_then(|()| std::fs::read_to_string(&file));
        let _ = std::fs::remove_file(&file);
        let text = done.expect("a temporary file");
        assert_eq!(
            text,
            "program a\n\tprocessed 1 insns\nprogram b\n\tprocessed 1 insns\n"
        );
    }
}
