//! Taking out of a text what is nobody else's business: values of environment variables,
//! secrets, names of hosts.
//!
//! It goes word by word, so that it does for JSON, logs and dumps alike; a word ends where a
//! secret cannot go on: at blanks, quotes, brackets, commas, backslashes.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// What stands in place of something.
const VALUE: &str = "[redacted]";
/// Shortest value of a variable that is looked for everywhere; shorter ones are in any text.
const SHORTEST_VALUE: usize = 6;
/// Parts of the names of options, variables and fields that hold secrets.
const SECRET_NAMES: [&str; 11] = [
    "token",
    "secret",
    "passw",
    "passphrase",
    "credential",
    "apikey",
    "api_key",
    "api-key",
    "access_key",
    "private_key",
    "auth",
];
/// How well-known tokens begin, and how long they are at least.
const SECRET_BEGINS: [(&str, usize); 13] = [
    ("ghp_", 20),
    ("gho_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 30),
    ("glpat-", 20),
    ("AKIA", 20),
    ("ASIA", 20),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("npm_", 20),
    ("sk-", 20),
    // A JSON web token: the beginning of `{"` in base 64.
    ("eyJ", 40),
];
/// Words in front of a secret, as in `Authorization: Bearer ...`.
const ANNOUNCE: [&str; 3] = ["bearer", "basic", "negotiate"];

/// Replaces what is secret.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    /// Texts that are replaced wherever they are, longest first.
    values: Vec<String>,
    /// Names of hosts and what stands for each.
    hosts: BTreeMap<String, String>,
}

impl Redactor {
    /// For a process with this environment, on a machine of this name.
    #[must_use]
    pub fn new(environment: impl IntoIterator<Item = (String, String)>, host: &str) -> Self {
        let secrets = environment
            .into_iter()
            .filter(|(name, value)| is_secret_name(name) && value.len() >= SHORTEST_VALUE);
        let mut values: Vec<String> = secrets.map(|(_, value)| value).collect();
        values.sort_by_key(|value| (std::cmp::Reverse(value.len()), value.clone()));
        values.dedup();
        let mut redactor = Self {
            values,
            hosts: BTreeMap::new(),
        };
        if !host.is_empty() && !is_local(host) {
            redactor.host(host);
        }
        redactor
    }

    /// Notes that this is the name of a host.
    pub fn host(&mut self, name: &str) -> &str {
        let next = format!("host-{}", self.hosts.len() + 1);
        self.hosts.entry(name.to_owned()).or_insert(next)
    }

    /// A text without what is secret.
    pub fn text<'a>(&mut self, text: &'a str) -> Cow<'a, str> {
        let mut out: Cow<'a, str> = Cow::Borrowed(text);
        for value in &self.values {
            if out.contains(value.as_str()) {
                out = Cow::Owned(out.replace(value.as_str(), VALUE));
            }
        }
        let redacted = self.words(&out);
        if redacted == *out {
            out
        } else {
            Cow::Owned(redacted)
        }
    }

    /// A command's arguments, of which one may announce the next.
    pub fn arguments(&mut self, arguments: &mut [String]) {
        let mut announced = false;
        for argument in arguments {
            if announced && !argument.starts_with('-') {
                VALUE.clone_into(argument);
                announced = false;
                continue;
            }
            announced = argument.starts_with('-') && is_announcement(argument);
            if let Cow::Owned(redacted) = self.text(argument) {
                *argument = redacted;
            }
        }
    }

    /// Any bytes; those that are not UTF-8 stay as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            out.extend_from_slice(self.text(chunk.valid()).as_bytes());
            out.extend_from_slice(chunk.invalid());
        }
        out
    }

    fn words(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        // The word before was the name of a secret, so that this one is it.
        let mut announced = false;
        let mut rest = text;
        while !rest.is_empty() {
            let length = rest.find(ends_word).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(length);
            if !word.is_empty() {
                let goes_on = word == ":" || word == "=";
                if announced && !goes_on && !is_announcement(word) {
                    out.push_str(VALUE);
                } else {
                    self.word(word, &mut out);
                }
                announced = goes_on && announced || is_announcement(word);
            }
            let gap = behind
                .find(|c| !ends_word(c) && c != ':')
                .unwrap_or(behind.len());
            out.push_str(&behind[..gap]);
            let gap_text = &behind[..gap];
            // A field of JSON has its colon behind the quote.
            announced |= gap_text.starts_with("\":") && is_secret_name(word);
            // A value stands on its name's line; that of an option may be the list's next.
            announced &= !gap_text.contains(['\n', '{', '}', ';'])
                && (!gap_text.contains(',') || word.starts_with('-'));
            rest = &behind[gap..];
        }
        out
    }

    fn word(&mut self, word: &str, out: &mut String) {
        if is_known_secret(word) {
            out.push_str(VALUE);
            return;
        }
        if let Some((scheme, rest)) = word.split_once("://") {
            out.push_str(scheme);
            out.push_str("://");
            self.location(rest, out);
            return;
        }
        if let Some(at) = word.find(['=', ':']).filter(|&at| at + 1 < word.len()) {
            let (name, value) = (&word[..at], &word[at + 1..]);
            if is_secret_name(name) {
                out.push_str(&word[..=at]);
                out.push_str(VALUE);
                return;
            }
            // `--registry=https://...`, `HOST=a.example`.
            self.part(name, out);
            out.push_str(&word[at..=at]);
            self.word(value, out);
            return;
        }
        self.part(word, out);
    }

    /// What is behind `://`: user and password go, the host gets a number, the path is looked
    /// through.
    fn location(&mut self, text: &str, out: &mut String) {
        let end = text.find(['/', '?', '#']).unwrap_or(text.len());
        let (authority, path) = text.split_at(end);
        let place = match authority.rsplit_once('@') {
            Some((_, place)) => {
                out.push_str(VALUE);
                out.push('@');
                place
            }
            None => authority,
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (host, Some(port))
            }
            _ => (place, None),
        };
        if is_local(host) {
            out.push_str(host);
        } else {
            out.push_str(self.host(host));
        }
        if let Some(port) = port {
            out.push(':');
            out.push_str(port);
        }
        for (index, part) in path.split('&').enumerate() {
            if index > 0 {
                out.push('&');
            }
            match part.rsplit_once('=') {
                Some((name, _)) if is_secret_name(name) => {
                    out.push_str(name);
                    out.push('=');
                    out.push_str(VALUE);
                }
                _ => out.push_str(part),
            }
        }
    }

    /// Anything else: known hosts get their numbers.
    fn part(&mut self, text: &str, out: &mut String) {
        let bare = text.trim_end_matches(['.', ':', ';']);
        match self.hosts.get(bare) {
            Some(number) => {
                out.push_str(number);
                out.push_str(&text[bare.len()..]);
            }
            None if is_known_secret(text) => out.push_str(VALUE),
            None => out.push_str(text),
        }
    }
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "\"'`,()[]{}<>\\|;".contains(c)
}

/// Whether something of this name is a secret. `author` and the like are not.
fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_key = name == "key" || name.ends_with("_key") || name.ends_with("-key");
    is_key
        || SECRET_NAMES.iter().any(|secret| {
            name.match_indices(secret).any(|(at, _)| {
                *secret != "auth"
                    || !name[at..].starts_with("author")
                    || name[at..].starts_with("authorization")
            })
        })
}

/// Whether the next word is a secret: an option without its value, a field's name before its
/// colon, `Bearer`.
fn is_announcement(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    if ANNOUNCE.contains(&lower.as_str()) {
        return true;
    }
    let name = lower.trim_end_matches([':', '=']);
    let is_named = word.len() > name.len() || word.starts_with('-');
    is_named && !name.contains(['=', ':', '/']) && is_secret_name(name)
}

fn is_known_secret(word: &str) -> bool {
    SECRET_BEGINS
        .iter()
        .any(|(begin, least)| word.starts_with(begin) && word.len() >= *least)
}

/// Names that tell nothing.
fn is_local(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.is_empty()
        || host == "localhost"
        || host == "::1"
        || host.starts_with("127.")
        || host == "0.0.0.0"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redactor() -> Redactor {
        let environment = [
            ("DEPLOY_TOKEN", "correct-horse"),
            ("HOME", "/home/someone"),
            ("PASSWORD", "abc"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Redactor::new(environment, "build-7.corp.example")
    }

    #[test]
    fn secrets_go_and_the_rest_stays() {
        for (text, want) in [
            ("x correct-horse y", "x [redacted] y"),
            ("/home/someone abc", "/home/someone abc"),
            ("--token=abcdef -v", "--token=[redacted] -v"),
            ("--password hunter2 -v", "--password [redacted] -v"),
            ("API_KEY=a1b2", "API_KEY=[redacted]"),
            (
                "Authorization: Bearer abc.def",
                "Authorization: Bearer [redacted]",
            ),
            (
                "authorization: Basic Zm9v\nnext",
                "authorization: Basic [redacted]\nnext",
            ),
            (
                "https://me:pw@mirror.corp.example:8443/x?token=1&a=2",
                "https://[redacted]@host-2:8443/x?token=[redacted]&a=2",
            ),
            ("GOPROXY=http://127.0.0.1:9/", "GOPROXY=http://127.0.0.1:9/"),
            ("on build-7.corp.example: up", "on host-1: up"),
            (
                r#"{"password": "hunter2", "n": 5}"#,
                r#"{"password": "[redacted]", "n": 5}"#,
            ),
            (r#"["--secret","s3"]"#, r#"["--secret","[redacted]"]"#),
            ("ghp_0123456789abcdefghij", "[redacted]"),
            ("author: me", "author: me"),
            ("keyboard monkey=1", "keyboard monkey=1"),
            ("main.go:12 +0x1d", "main.go:12 +0x1d"),
            ("goroutine 7 [chan receive]:", "goroutine 7 [chan receive]:"),
        ] {
            let mut redactor = redactor();
            let got = redactor.text(text).into_owned();
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn an_argument_may_announce_the_next() {
        let mut arguments = [
            "prog",
            "--password",
            "hunter2",
            "-v",
            "--token=x",
            "--token",
            "-v",
            "plain",
        ]
        .map(str::to_owned);
        redactor().arguments(&mut arguments);
        let want = [
            "prog",
            "--password",
            "[redacted]",
            "-v",
            "--token=[redacted]",
            "--token",
            "-v",
            "plain",
        ];
        assert_eq!(arguments, want);
    }

    #[test]
    fn the_same_host_has_the_same_number() {
        let mut redactor = redactor();
        let first = redactor
            .text("https://a.example/ https://b.example/")
            .into_owned();
        assert_eq!(first, "https://host-2/ https://host-3/");
        assert_eq!(redactor.text("dial b.example: no"), "dial host-3: no");
    }

    proptest! {
        #[test]
        fn values_never_pass(before in "\\PC{0,20}", after in "\\PC{0,20}") {
            let text = format!("{before}correct-horse{after}");
            prop_assert!(!redactor().text(&text).contains("correct-horse"));
            let url = format!("{before} https://u:secret99@h/{after}");
            prop_assert!(!redactor().text(&url).contains("secret99") || before.contains("secret99"));
        }

        #[test]
        fn any_bytes_are_taken_and_json_stays_json(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            text in "\\PC{0,40}",
        ) {
            redactor().bytes(&bytes);
            let json = serde_json::to_string(&[&text, "--token=x", "a://b:c@d/"]).unwrap();
            let redacted = redactor().text(&json).into_owned();
            prop_assert!(serde_json::from_str::<Vec<String>>(&redacted).is_ok(), "{redacted}");
        }
    }
}
