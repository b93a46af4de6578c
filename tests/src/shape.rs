//! The form of a JSON document: which keys there are, and of which types their values.
//!
//! A line of a form is a path, a tab, and types separated by `|`. In a path, `.key` leads into
//! an object, `.*` to any of its keys, and `[]` to each element of an array; the document's own
//! path is `$`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A form.
#[derive(Debug)]
pub struct Shape<'a> {
    types: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// Keys of the objects, by the object's path.
    keys: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Shape<'a> {
    /// Reads a form; lines that begin with `#` are passed over.
    ///
    /// # Errors
    /// The line that is not in this form, or given twice.
    pub fn parse(text: &'a str) -> Result<Self> {
        let mut shape = Self {
            types: BTreeMap::new(),
            keys: BTreeMap::new(),
        };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (path, types) = line
                .split_once('\t')
                .with_context(|| format!("{line:?} is not PATH<TAB>TYPES"))?;
            let twice = shape.types.insert(path, types.split('|').collect());
            ensure!(twice.is_none(), "{path} is there twice");
            if let Some((object, key)) = path.rsplit_once('.')
                && !key.ends_with("[]")
            {
                shape.keys.entry(object).or_default().insert(key);
            }
        }
        Ok(shape)
    }

    /// What in a document is not of this form, in words, each once: an object must have exactly
    /// the keys listed for its path, and a value one of the types.
    pub fn differences(&self, document: &Value) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        self.look("$", document, &mut found);
        found
    }

    fn look(&self, path: &str, value: &Value, found: &mut BTreeSet<String>) {
        let is = type_of(value);
        match self.types.get(path) {
            None => {
                found.insert(format!("{path} is unknown"));
                return;
            }
            Some(types) if !types.contains(is) => {
                let types: Vec<&str> = types.iter().copied().collect();
                found.insert(format!("{path} is {is}, not {}", types.join(" or ")));
                return;
            }
            Some(_) => {}
        }
        match value {
            Value::Array(elements) => {
                for element in elements {
                    self.look(&format!("{path}[]"), element, found);
                }
            }
            Value::Object(entries) => {
                let keys = self.keys.get(path);
                let any = keys.is_some_and(|keys| keys.contains("*"));
                for (key, value) in entries {
                    let key = if any { "*" } else { key };
                    self.look(&format!("{path}.{key}"), value, found);
                }
                for key in keys.into_iter().flatten() {
                    if !any && !entries.contains_key(*key) {
                        found.insert(format!("{path}.{key} is missing"));
                    }
                }
            }
            _ => {}
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SHAPE: &str = "# of a test\n$\tobject\n$.a\tarray\n$.a[]\tobject\n\
        $.a[].n\tinteger|null\n$.a[].x\tnumber\n$.m\tobject\n$.m.*\tstring\n";

    fn differences(document: &Value) -> Vec<String> {
        let shape = Shape::parse(SHAPE).expect("a form");
        shape.differences(document).into_iter().collect()
    }

    #[test]
    fn a_document_of_the_form_has_no_differences() {
        let document = json!({
            "a": [{"n": 1, "x": 0.5}, {"n": null, "x": 1.0}],
            "m": {"any": "key", "other": "key"},
        });
        assert!(differences(&document).is_empty());
        assert!(differences(&json!({"a": [], "m": {}})).is_empty());
    }

    #[test]
    fn what_differs_is_named() {
        let document = json!({
            "a": [{"n": "1", "x": 1}, {"x": 0.5}, {"n": 1, "x": 0.5, "y": []}],
            "m": {"any": null},
        });
        assert_eq!(
            differences(&document),
            [
                "$.a[].n is missing",
                "$.a[].n is string, not integer or null",
                "$.a[].x is integer, not number",
                "$.a[].y is unknown",
                "$.m.* is null, not string",
            ]
        );
        assert_eq!(differences(&json!([])), ["$ is array, not object"]);
        assert_eq!(differences(&json!({"a": []})), ["$.m is missing"]);
    }

    #[test]
    fn other_lines_are_refused() {
        for text in ["$", "$ object", "$\tobject\n$\tarray"] {
            assert!(Shape::parse(text).is_err(), "{text:?}");
        }
    }
}
