//! Making names that come from processes harmless for a terminal.

use std::fmt::Write as _;

/// `raw` as text that is safe to print to a terminal.
///
/// Printable UTF-8 stays as it is. Control characters (C0, DEL, C1), characters
/// that reorder, hide or break text (bidirectional controls, zero-width and other
/// format characters, line and paragraph separators, tags) become `\n`, `\t`,
/// `\r`, `\u{202e}` and the like; bytes that are not UTF-8 become `\xff`.
///
/// A backslash stays single, because systemd's unit names hold them and must stay
/// fit for copying; the result is therefore for the eye, not for decoding.
#[must_use]
pub fn escape(raw: impl AsRef<[u8]>) -> String {
    let raw = raw.as_ref();
    let mut out = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_control() && c.is_ascii() => push_hex(&mut out, c as u32),
                c if c.is_control() || is_format(c) => {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
                }
                c => out.push(c),
            }
        }
        for &byte in chunk.invalid() {
            push_hex(&mut out, u32::from(byte));
        }
    }
    out
}

fn push_hex(out: &mut String, byte: u32) {
    let _ = write!(out, "\\x{byte:02x}");
}

/// Characters of the Unicode categories Cf, Zl and Zp (Unicode 16).
fn is_format(c: char) -> bool {
    matches!(u32::from(c),
        0xad
        | 0x600..=0x605
        | 0x61c
        | 0x6dd
        | 0x70f
        | 0x890..=0x891
        | 0x8e2
        | 0x180e
        | 0x200b..=0x200f
        | 0x2028..=0x202e
        | 0x2060..=0x206f
        | 0xfeff
        | 0xfff9..=0xfffb
        | 0x110bd
        | 0x110cd
        | 0x13430..=0x1343f
        | 0x1bca0..=0x1bca3
        | 0x1d173..=0x1d17a
        | 0xe0000..=0xe007f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn printable_text_stays_and_the_rest_becomes_visible() {
        for (raw, want) in [
            (&b"hello world"[..], "hello world"),
            ("größe 日本 ✓".as_bytes(), "größe 日本 ✓"),
            (b"a\nb\tc\rd", "a\\nb\\tc\\rd"),
            (b"\x1b[31mred\x07", "\\x1b[31mred\\x07"),
            (b"\x7f", "\\x7f"),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
            ("a\u{202e}b\u{2066}c".as_bytes(), "a\\u{202e}b\\u{2066}c"),
            (
                "\u{200b}\u{2028}\u{e0041}".as_bytes(),
                "\\u{200b}\\u{2028}\\u{e0041}",
            ),
            (b"\xff\xc3", "\\xff\\xc3"),
            (br"dev-disk-by\x2dlabel.swap", r"dev-disk-by\x2dlabel.swap"),
            (b"", ""),
        ] {
            assert_eq!(escape(raw), want, "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_harmful_passes(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = escape(&raw);
            prop_assert!(text.chars().all(|c| !c.is_control() && !is_format(c)), "{text:?}");
        }

        #[test]
        fn any_string_is_handled_like_its_bytes(raw in "\\PC*|.*") {
            prop_assert_eq!(escape(&raw), escape(raw.as_bytes()));
            if raw.chars().all(|c| !c.is_control() && !is_format(c)) {
                prop_assert_eq!(escape(&raw), raw);
            }
        }
    }
}
