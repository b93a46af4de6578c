//! Servers that a test starts on a fixed port, and never shuts down.
//!
//! Looked for in the tokens of one file: calls of `ListenAndServe` and
//! `ListenAndServeTLS`, of package net/http or on an `http.Server` variable of the file,
//! within what a goroutine runs. A server that is shut down or closed anywhere in the
//! file, or handed on to where that cannot be seen, is taken for a sound one.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use super::lexer::{Token, tokens};

/// Calls that serve until the server is shut down.
const SERVE: [&str; 2] = ["ListenAndServe", "ListenAndServeTLS"];
/// Most goroutines, and calls, of one file that are looked at.
const MOST: usize = 1000;
/// Calls that end a server.
const END: [&str; 2] = ["Shutdown", "Close"];

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Line of the call.
    pub line: u32,
    /// The call, as `http.ListenAndServe`.
    pub call: String,
    /// The address that it is given.
    pub address: String,
}

/// The servers of a file.
pub(super) fn servers(source: &[u8]) -> Vec<Found> {
    let tokens = tokens(source);
    let Some(http) = imported(&tokens, "net/http") else {
        return Vec::new();
    };
    let file = File {
        texts: texts(&tokens),
        tokens: &tokens,
        http,
    };
    let calls = file.goroutines().into_iter().flatten();
    let calls: BTreeSet<usize> = calls.filter(|&at| file.is_call(at)).collect();
    let calls = calls.into_iter().take(MOST);
    calls.filter_map(|at| file.server_at(at)).collect()
}

/// The name under which a package is imported; `None` if it is not.
fn imported(tokens: &[Token], path: &str) -> Option<String> {
    let at = tokens.iter().position(|token| token.text() == Some(path))?;
    let before = at.checked_sub(1).map(|before| &tokens[before])?;
    match before.word() {
        Some("import") => {}
        Some(name) if before.line == tokens[at].line => return Some(name.to_owned()),
        _ => {}
    }
    path.rsplit('/').next().map(Into::into)
}

/// Names that are given one text, and no other, in the file: constants and variables.
fn texts(tokens: &[Token]) -> HashMap<String, String> {
    let mut found: HashMap<String, Option<String>> = HashMap::new();
    for (at, token) in tokens.iter().enumerate() {
        let Some(name) = token.word() else { continue };
        // A field of that name is not it.
        if at
            .checked_sub(1)
            .is_some_and(|before| tokens[before].is_mark(b'.'))
        {
            continue;
        }
        let rest = &tokens[at + 1..];
        let value = match rest {
            [colon, equals, value, ..] if colon.is_mark(b':') && equals.is_mark(b'=') => value,
            [kind, equals, value, ..] if kind.is_word("string") && equals.is_mark(b'=') => value,
            // Not a comparison.
            [equals, value, ..] if equals.is_mark(b'=') && !value.is_mark(b'=') => value,
            _ => continue,
        };
        let value = value.text().map(Into::into);
        found
            .entry(name.to_owned())
            .and_modify(|known| *known = None)
            .or_insert(value);
    }
    found
        .into_iter()
        .filter_map(|(name, text)| Some((name, text?)))
        .collect()
}

struct File<'a> {
    tokens: &'a [Token],
    /// The name of package net/http.
    http: String,
    texts: HashMap<String, String>,
}

impl File<'_> {
    /// The tokens of what goroutines run, each `go` and each `Go(func` a range.
    fn goroutines(&self) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let starts = |(_, token): &(usize, &Token)| token.is_word("go") || token.is_word("Go");
        let all = self.tokens.iter().enumerate();
        for (at, token) in all.filter(starts).take(MOST) {
            let next = at + 1;
            match token.word() {
                Some("go") if self.is_word(next, "func") => found.extend(self.body(next)),
                Some("go") => {
                    // Its arguments are worked out first, but by whoever starts it, for ever.
                    let Some(call) = self.call(next) else {
                        continue;
                    };
                    if let Some(name) = self.tokens[next].word()
                        && self.is_mark(next + 1, b'(')
                    {
                        found.extend(self.function(name));
                    }
                    found.push(call);
                }
                // As of errgroup.Group and, from 1.25 on, sync.WaitGroup.
                Some("Go") if self.is_mark(next, b'(') && self.is_word(next + 1, "func") => {
                    found.extend(self.body(next + 1));
                }
                _ => {}
            }
        }
        found
    }

    /// Whether the token at `at` is a method or function that serves, where it is called.
    fn is_call(&self, at: usize) -> bool {
        SERVE.iter().any(|name| self.is_word(at, name))
            && at.checked_sub(1).is_some_and(|dot| self.is_mark(dot, b'.'))
            && self.is_mark(at + 1, b'(')
    }

    /// The server that the call at `at` starts, if it starts one that stays.
    fn server_at(&self, at: usize) -> Option<Found> {
        let call = self.tokens.get(at)?.word()?;
        let before = at.checked_sub(2)?;
        let found = |of: &str, address: String| Found {
            line: self.tokens[at].line,
            call: format!("{of}.{call}"),
            address,
        };
        // (&http.Server{...}).ListenAndServe()
        if self.is_mark(before, b')') {
            let open = self.opening(before, b'(', b')')?;
            let literal = self.literal_in(open..before)?;
            let address = self.address_in(literal).filter(|text| is_fixed(text))?;
            return Some(found(&format!("{}.Server", self.http), address));
        }
        let name = self.tokens[before].word()?;
        // A field of something is ended elsewhere.
        if before
            .checked_sub(1)
            .is_some_and(|dot| self.is_mark(dot, b'.'))
        {
            return None;
        }
        if name == self.http {
            let address = self.text(at + 2).filter(|text| is_fixed(text))?;
            return Some(found(name, address));
        }
        let address = self.address_of(name).filter(|text| is_fixed(text))?;
        (!self.is_ended(name)).then(|| found(name, address))
    }

    /// The address of the server variable `name`.
    fn address_of(&self, name: &str) -> Option<String> {
        (0..self.tokens.len()).find_map(|at| {
            if !self.is_word(at, name) {
                return None;
            }
            // name.Addr = ":8080"
            if self.is_mark(at + 1, b'.')
                && self.is_word(at + 2, "Addr")
                && self.is_mark(at + 3, b'=')
            {
                return self.text(at + 4);
            }
            let same_line = |&other: &usize| self.tokens[other].line == self.tokens[at].line;
            let equals = (at + 1..at + 3).find(|&at| self.is_mark(at, b'='));
            let equals = equals.filter(same_line)?;
            let literal = self.literal_in(equals + 1..(equals + 5).min(self.tokens.len()))?;
            self.address_in(literal)
        })
    }

    /// Whether the server variable `name` is ended, or leaves what can be seen.
    fn is_ended(&self, name: &str) -> bool {
        (0..self.tokens.len()).any(|at| {
            if !self.is_word(at, name) || at > 0 && self.is_mark(at - 1, b'.') {
                return false;
            }
            if self.is_mark(at + 1, b'.') {
                return END.iter().any(|end| self.is_word(at + 2, end));
            }
            // Declared or assigned, with a type between perhaps.
            let assigned = self.is_mark(at + 1, b'=')
                || self.is_mark(at + 1, b':') && self.is_mark(at + 2, b'=');
            let declared = at > 0 && self.is_word(at - 1, "var");
            !assigned && !declared
        })
    }

    /// Behind the brace of `http.Server{` in a range.
    fn literal_in(&self, range: Range<usize>) -> Option<usize> {
        range.into_iter().find_map(|at| {
            let literal = self.is_word(at, &self.http)
                && self.is_mark(at + 1, b'.')
                && self.is_word(at + 2, "Server")
                && self.is_mark(at + 3, b'{');
            literal.then_some(at + 4)
        })
    }

    /// The `Addr` of the literal whose brace is before `from`.
    fn address_in(&self, from: usize) -> Option<String> {
        let end = self.closing(from.checked_sub(1)?, b'{', b'}')?;
        (from..end).find_map(|at| {
            let field = self.is_word(at, "Addr") && self.is_mark(at + 1, b':');
            field.then(|| self.text(at + 2)).flatten()
        })
    }

    /// The text at `at`: a literal, or a name that stands for one, and nothing behind it.
    fn text(&self, at: usize) -> Option<String> {
        let ends = self.tokens.get(at + 1).is_none_or(|next| {
            let marks = [b',', b')', b'}'];
            marks.iter().any(|mark| next.is_mark(*mark)) || next.line > self.tokens[at].line
        });
        let token = self.tokens.get(at).filter(|_| ends)?;
        let named = || self.texts.get(token.word()?).map(String::as_str);
        token.text().or_else(named).map(Into::into)
    }

    /// A call that begins at `at`, to the end of its arguments.
    fn call(&self, at: usize) -> Option<Range<usize>> {
        let open = (at..self.tokens.len()).find(|&at| self.is_mark(at, b'('))?;
        Some(at..self.closing(open, b'(', b')')?)
    }

    /// The body of the function literal or declaration whose `func` is at `at`.
    fn body(&self, at: usize) -> Option<Range<usize>> {
        let open = (at..self.tokens.len()).find(|&at| self.is_mark(at, b'('))?;
        let parameters = self.closing(open, b'(', b')')?;
        let open = (parameters..self.tokens.len()).find(|&at| self.is_mark(at, b'{'))?;
        Some(open + 1..self.closing(open, b'{', b'}')?)
    }

    /// The body of the file's function of that name.
    fn function(&self, name: &str) -> Option<Range<usize>> {
        let at = (0..self.tokens.len())
            .find(|&at| self.is_word(at, "func") && self.is_word(at + 1, name))?;
        self.body(at)
    }

    /// Where the bracket that opens at `open` is closed.
    fn closing(&self, open: usize, left: u8, right: u8) -> Option<usize> {
        let mut depth = 0_usize;
        (open..self.tokens.len()).find(|&at| {
            if self.is_mark(at, left) {
                depth += 1;
            } else if self.is_mark(at, right) {
                depth -= 1;
                return depth == 0;
            }
            false
        })
    }

    /// Where the bracket that is closed at `close` was opened.
    fn opening(&self, close: usize, left: u8, right: u8) -> Option<usize> {
        let mut depth = 0_usize;
        (0..=close).rev().find(|&at| {
            if self.is_mark(at, right) {
                depth += 1;
            } else if self.is_mark(at, left) {
                depth -= 1;
                return depth == 0;
            }
            false
        })
    }

    fn is_word(&self, at: usize, word: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is_word(word))
    }

    fn is_mark(&self, at: usize, mark: u8) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is_mark(mark))
    }
}

/// Whether an address has a port that is the same each time.
fn is_fixed(address: &str) -> bool {
    let Some((_, port)) = address.rsplit_once(':') else {
        return false;
    };
    match port.parse::<u16>() {
        Ok(number) => number != 0,
        // A service by name.
        Err(_) => !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_lowercase()),
    }
}

#[cfg(test)]
#[path = "servers_tests.rs"]
mod tests;
