//! JSON that is safe to print: one document, and the form of every string.
//!
//! Output is ASCII: a character beyond it, and DEL, is written as `\uXXXX`.
//! The content stays exact, and no control byte (C1, bidirectional controls)
//! reaches a terminal.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use crate::report::Report;

/// Writes a report as one indented document with a newline.
///
/// # Errors
/// The output cannot be written.
pub fn write_report(out: &mut impl Write, report: &Report) -> io::Result<()> {
    write_document(out, report)
}

/// Writes any document, indented, with a newline.
///
/// # Errors
/// The output cannot be written, or the value has no JSON form.
pub fn write_document(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let pretty = AsciiPretty(PrettyFormatter::new());
    value.serialize(&mut Serializer::with_formatter(&mut *out, pretty))?;
    out.write_all(b"\n")
}

/// Appends a document as one line.
pub fn write_line(out: &mut Vec<u8>, value: &crate::inspect::Inspection) {
    push_line(out, value);
}

/// Appends any value as one line.
pub(super) fn push_line(out: &mut Vec<u8>, value: &impl Serialize) {
    let result = value.serialize(&mut Serializer::with_formatter(&mut *out, AsciiCompact));
    // A Vec takes every byte, and the lines' types have JSON forms: string
    // keys, no 128-bit numbers.
    result.expect("lines are serializable");
    out.push(b'\n');
}

fn write_fragment<W: ?Sized + Write>(writer: &mut W, fragment: &str) -> io::Result<()> {
    // 0x7f is the one ASCII control that JSON lets through.
    if fragment.bytes().all(|byte| byte < 0x7f) {
        return writer.write_all(fragment.as_bytes());
    }
    for c in fragment.chars() {
        if u32::from(c) < 0x7f {
            writer.write_all(&[c as u8])?;
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
    }
    Ok(())
}

struct AsciiCompact;

impl Formatter for AsciiCompact {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, w: &mut W, s: &str) -> io::Result<()> {
        write_fragment(w, s)
    }
}

struct AsciiPretty<'a>(PrettyFormatter<'a>);

macro_rules! delegate {
    ($($name:ident($($arg:ident: $type:ty)?)),* $(,)?) => {
        $(
            fn $name<W: ?Sized + Write>(&mut self, w: &mut W $(, $arg: $type)?) -> io::Result<()> {
                self.0.$name(w $(, $arg)?)
            }
        )*
    };
}

impl Formatter for AsciiPretty<'_> {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, w: &mut W, s: &str) -> io::Result<()> {
        write_fragment(w, s)
    }
    delegate!(
        begin_array(),
        end_array(),
        begin_array_value(first: bool),
        end_array_value(),
        begin_object(),
        end_object(),
        begin_object_key(first: bool),
        begin_object_value(),
        end_object_value(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sample;
    use proptest::prelude::*;

    #[test]
    fn a_report_is_one_document_and_comes_back() {
        let report = sample::report();
        let mut out = Vec::new();
        write_report(&mut out, &report).expect("a Vec takes all");
        assert!(out.starts_with(b"{\n  \"schema_version\": 1,\n") && out.ends_with(b"\n}\n"));
        let back: Report = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(back, report);
    }

    proptest! {
        #[test]
        fn every_string_survives_and_nothing_but_ascii_is_written(text in "(\\PC|.|\u{9b}|\u{202e}|\u{7f}|\u{1f600})*") {
            let value = serde_json::json!({ text.clone(): [text.clone(), null_of()], "n": {} });
            let mut pretty = Vec::new();
            write_document(&mut pretty, &value).expect("a Vec takes all");
            let mut line = Vec::new();
            push_line(&mut line, &value);
            prop_assert!(pretty.iter().all(|b| (0x20..0x7f).contains(b) || *b == b'\n'));
            prop_assert!(line[..line.len() - 1].iter().all(|b| (0x20..0x7f).contains(b)));
            for out in [pretty, line] {
                let back: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
                prop_assert_eq!(back, value.clone());
            }
        }
    }

    fn null_of() -> Option<u8> {
        None
    }
}
