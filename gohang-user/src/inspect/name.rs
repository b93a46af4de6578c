//! Names that processes and administrators choose, kept to the byte.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::process::escape;

/// A name or path as raw bytes. As JSON it is a string if it is UTF-8, else an object with
/// its bytes in hexadecimal; as text it is escaped for a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Vec<u8>);

impl Name {
    /// Of these bytes.
    #[must_use]
    pub fn new(raw: impl Into<Vec<u8>>) -> Self {
        Self(raw.into())
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As a path.
    #[must_use]
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }
}

impl From<&Path> for Name {
    fn from(path: &Path) -> Self {
        Self(path.as_os_str().as_bytes().to_vec())
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.0))
    }
}

/// Its form in JSON.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Form<'a> {
    /// UTF-8.
    Text(Cow<'a, str>),
    /// Anything else.
    Bytes {
        /// The bytes, two digits each.
        bytes_hex: String,
    },
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let form = match std::str::from_utf8(&self.0) {
            Ok(text) => Form::Text(text.into()),
            Err(_) => Form::Bytes {
                bytes_hex: self.0.iter().map(|byte| format!("{byte:02x}")).collect(),
            },
        };
        form.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = match Form::deserialize(deserializer)? {
            Form::Text(text) => text.into_owned().into_bytes(),
            Form::Bytes { bytes_hex } => from_hex(bytes_hex.as_bytes()).ok_or_else(|| {
                serde::de::Error::custom("bytes_hex is not pairs of hexadecimal digits")
            })?,
        };
        Ok(Self(raw))
    }
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_chunks::<2>();
    let digit = |byte: u8| (byte as char).to_digit(16);
    let byte = |pair: &[u8; 2]| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok();
    rest.is_empty()
        .then(|| pairs.iter().map(byte).collect())
        .flatten()
}

impl JsonSchema for Name {
    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Form::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_stays_text() {
        let json = serde_json::to_string(&Name::from("größe")).expect("JSON");
        assert_eq!(json, "\"größe\"");
        let odd = Name::new(*b"a\xffb");
        assert_eq!(odd.to_string(), "a\\xffb");
        let json = serde_json::to_string(&odd).expect("JSON");
        assert_eq!(json, "{\"bytes_hex\":\"61ff62\"}");
        for bad in ["{\"bytes_hex\":\"6\"}", "{\"bytes_hex\":\"zz\"}", "1"] {
            assert!(serde_json::from_str::<Name>(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn it_comes_back_and_nothing_harmful_is_shown(raw in proptest::collection::vec(any::<u8>(), 0..80)) {
            let name = Name::new(raw);
            let json = serde_json::to_string(&name).expect("JSON");
            prop_assert_eq!(&serde_json::from_str::<Name>(&json).expect("JSON"), &name);
            prop_assert!(name.to_string().chars().all(|c| !c.is_control()));
        }
    }
}
