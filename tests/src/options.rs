//! `key=value` arguments of the hidden modes: they are only ever written by this program.

use std::collections::HashMap;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};

/// Parsed `key=value` words.
#[derive(Debug, Default)]
pub struct Options(HashMap<String, String>);

impl Options {
    /// Parses the words.
    ///
    /// # Errors
    /// On a word without `=`.
    pub fn parse(words: &[String]) -> Result<Self> {
        let pair = |w: &String| {
            let (k, v) = w
                .split_once('=')
                .ok_or_else(|| anyhow!("{w:?} is not key=value"))?;
            Ok((k.to_owned(), v.to_owned()))
        };
        words.iter().map(pair).collect::<Result<_>>().map(Self)
    }

    /// The value of `key`, or `default` when it is not given.
    ///
    /// # Errors
    /// When the value does not parse.
    pub fn get<T: FromStr>(&self, key: &str, default: T) -> Result<T> {
        match self.0.get(key) {
            None => Ok(default),
            Some(v) => v.parse().map_err(|_| anyhow!("{key}={v:?} does not parse")),
        }
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// When it is missing or does not parse.
    pub fn need<T: FromStr>(&self, key: &str) -> Result<T> {
        let v = self
            .0
            .get(key)
            .with_context(|| format!("{key}= is missing"))?;
        v.parse().map_err(|_| anyhow!("{key}={v:?} does not parse"))
    }

    /// The numbers of a comma list.
    ///
    /// # Errors
    /// When it is missing, empty or holds no numbers.
    pub fn list(&self, key: &str) -> Result<Vec<i32>> {
        let v: String = self.need(key)?;
        let list = v
            .split(',')
            .map(|n| n.parse().map_err(|_| anyhow!("{key}={v:?}")));
        let list: Vec<i32> = list.collect::<Result<_>>()?;
        if list.is_empty() {
            bail!("{key} is empty");
        }
        Ok(list)
    }
}
