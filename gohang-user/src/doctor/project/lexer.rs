//! The tokens of a Go source file, as far as looking for calls needs them.

/// A token and the line it begins on, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    pub line: u32,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or keyword.
    Word(String),
    /// The value of a string literal; escapes other than of quotes and backslashes stay.
    Text(String),
    /// A number or a rune: nothing that is looked at.
    Literal,
    /// Any other character, one at a time: `:=` is `:` and `=`.
    Mark(u8),
}

impl Token {
    pub(super) fn is_mark(&self, mark: u8) -> bool {
        self.kind == Kind::Mark(mark)
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        self.word() == Some(word)
    }

    pub(super) fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Splits a file; comments are left out. What is not Go gives tokens, too.
pub(super) fn tokens(source: &[u8]) -> Vec<Token> {
    let mut lexer = Lexer {
        source,
        at: 0,
        line: 1,
    };
    let mut found = Vec::new();
    while let Some(token) = lexer.next() {
        found.push(token);
    }
    found
}

struct Lexer<'a> {
    source: &'a [u8],
    at: usize,
    line: u32,
}

impl Lexer<'_> {
    fn next(&mut self) -> Option<Token> {
        loop {
            let byte = self.peek(0)?;
            let line = self.line;
            let kind = match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {
                    self.bump();
                    continue;
                }
                b'/' if self.peek(1) == Some(b'/') => {
                    self.while_true(|byte| byte != b'\n');
                    continue;
                }
                b'/' if self.peek(1) == Some(b'*') => {
                    self.comment();
                    continue;
                }
                b'"' => Kind::Text(self.quoted(b'"')),
                b'\'' => {
                    self.quoted(b'\'');
                    Kind::Literal
                }
                b'`' => Kind::Text(self.raw()),
                b'0'..=b'9' => {
                    self.while_true(|byte| is_word(byte) || byte == b'.');
                    Kind::Literal
                }
                byte if is_word(byte) => {
                    let word = self.while_true(is_word);
                    Kind::Word(String::from_utf8_lossy(word).into_owned())
                }
                mark => {
                    self.bump();
                    Kind::Mark(mark)
                }
            };
            return Some(Token { kind, line });
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.source.get(self.at + ahead).copied()
    }

    fn bump(&mut self) -> Option<u8> {
        let byte = self.peek(0)?;
        self.at += 1;
        if byte == b'\n' {
            self.line = self.line.saturating_add(1);
        }
        Some(byte)
    }

    fn while_true(&mut self, wanted: impl Fn(u8) -> bool) -> &[u8] {
        let begin = self.at;
        while self.peek(0).is_some_and(&wanted) {
            self.bump();
        }
        &self.source[begin..self.at]
    }

    fn comment(&mut self) {
        self.at += 2;
        while let Some(byte) = self.bump() {
            if byte == b'*' && self.peek(0) == Some(b'/') {
                self.bump();
                return;
            }
        }
    }

    /// A literal in `quote`s, which ends with its line at the latest.
    fn quoted(&mut self, quote: u8) -> String {
        self.bump();
        let mut value = Vec::new();
        while let Some(byte) = self.peek(0).filter(|byte| *byte != b'\n') {
            self.bump();
            if byte == quote {
                break;
            }
            match (byte, self.peek(0)) {
                (b'\\', Some(next @ (b'\\' | b'"' | b'\''))) => {
                    self.bump();
                    value.push(next);
                }
                _ => value.push(byte),
            }
        }
        String::from_utf8_lossy(&value).into_owned()
    }

    fn raw(&mut self) -> String {
        self.bump();
        let value = self.while_true(|byte| byte != b'`');
        let value = String::from_utf8_lossy(value).into_owned();
        self.bump();
        value
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(source: &str) -> Vec<String> {
        let show = |token: Token| match token.kind {
            Kind::Word(word) => word,
            Kind::Text(text) => format!("<{text}>"),
            Kind::Literal => "#".to_owned(),
            Kind::Mark(mark) => char::from(mark).to_string(),
        };
        tokens(source.as_bytes()).into_iter().map(show).collect()
    }

    #[test]
    fn comments_and_strings_hide_what_is_in_them() {
        let source = "x := f(\"a\\\"b\", `raw // \"x\n`) // f(y)\n/* g(\n*/ h('\\'', 1.5e3, 0x1F)";
        assert_eq!(
            shown(source),
            [
                "x",
                ":",
                "=",
                "f",
                "(",
                "<a\"b>",
                ",",
                "<raw // \"x\n>",
                ")",
                "h",
                "(",
                "#",
                ",",
                "#",
                ",",
                "#",
                ")"
            ]
        );
        let lines: Vec<u32> = tokens(source.as_bytes()).iter().map(|t| t.line).collect();
        assert_eq!((lines[0], lines[9]), (1, 4));
        assert_eq!(shown("größe"), ["größe"]);
        // What is not closed ends somewhere.
        assert_eq!(shown("\"abc\nd"), ["<abc>", "d"]);
        assert_eq!(shown("`abc\nd"), ["<abc\nd>"]);
        assert_eq!(shown("a /* b"), ["a"]);
    }

    proptest! {
        #[test]
        fn any_bytes_give_tokens(source in prop::collection::vec(any::<u8>(), 0..300)) {
            let found = tokens(&source);
            prop_assert!(found.len() <= source.len());
            let lines = source.iter().filter(|byte| **byte == b'\n').count() as u32 + 1;
            prop_assert!(found.iter().all(|token| (1..=lines).contains(&token.line)));
        }

        #[test]
        fn quotes_anywhere_never_panic(source in "[\"'`/*\\\\\na-c(){}:=.]{0,60}") {
            let _ = tokens(source.as_bytes());
        }
    }
}
