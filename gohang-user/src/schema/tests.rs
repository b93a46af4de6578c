use std::path::Path;

use serde_json::Value;

use super::*;
use crate::compare::compare;
use crate::sink::interval::Interval;
use crate::sink::{jsonl, sample};

/// Set to write the files instead of comparing them.
const UPDATE: &str = "GOHANG_UPDATE_SCHEMA";

#[test]
fn committed_schemas_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    for schema in PUBLISHED {
        let path = folder.join(schema.file);
        let text = schema.text().expect("JSON");
        if std::env::var_os(UPDATE).is_some() {
            std::fs::create_dir_all(&folder).expect("the folder can be made");
            std::fs::write(&path, &text).expect("the file can be written");
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "schema/{} is not what the types say; look at the change and write it with: \
             {UPDATE}=1 cargo test -p gohang --lib schema",
            schema.file
        );
    }
}

/// What of a value a schema does not allow. Knows the keywords that occur here,
/// and fails on any other.
fn check(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Value::Object(keywords) = schema else {
        return if schema == &Value::Bool(true) {
            Ok(())
        } else {
            Err(format!("{at}: not allowed"))
        };
    };
    let fail = |why: String| Err(format!("{at}: {why}"));
    for (keyword, argument) in keywords {
        match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "format" | "default" => (),
            "$ref" => {
                let pointer = argument
                    .as_str()
                    .and_then(|r| r.strip_prefix('#'))
                    .expect("a local ref");
                check(root, root.pointer(pointer).expect("it is there"), value, at)?;
            }
            "type" => {
                let allowed = |name: &Value| match name.as_str() {
                    Some("object") => value.is_object(),
                    Some("array") => value.is_array(),
                    Some("string") => value.is_string(),
                    Some("boolean") => value.is_boolean(),
                    Some("null") => value.is_null(),
                    Some("number") => value.is_number(),
                    Some("integer") => value.is_u64() || value.is_i64(),
                    other => panic!("type {other:?}"),
                };
                let names = argument
                    .as_array()
                    .map_or(std::slice::from_ref(argument), Vec::as_slice);
                if !names.iter().any(allowed) {
                    return fail(format!("{value} is not {argument}"));
                }
            }
            "const" if argument == value => (),
            "const" => return fail(format!("{value} is not {argument}")),
            "enum" => {
                if !argument.as_array().expect("a list").contains(value) {
                    return fail(format!("{value} is none of {argument}"));
                }
            }
            "minimum" | "maximum" => {
                if let (Some(got), Some(limit)) = (value.as_f64(), argument.as_f64())
                    && (if keyword == "minimum" {
                        got < limit
                    } else {
                        got > limit
                    })
                {
                    return fail(format!("{got} is beyond {limit}"));
                }
            }
            "required" => {
                for name in argument.as_array().expect("a list") {
                    if value.get(name.as_str().expect("a name")).is_none() {
                        return fail(format!("{name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, schema) in argument.as_object().expect("a map") {
                    if let Some(member) = value.get(name) {
                        check(root, schema, member, &format!("{at}/{name}"))?;
                    }
                }
            }
            "additionalProperties" => {
                let named = keywords.get("properties").and_then(Value::as_object);
                for (name, member) in value.as_object().into_iter().flatten() {
                    if named.is_none_or(|named| !named.contains_key(name)) {
                        check(root, argument, member, &format!("{at}/{name}"))?;
                    }
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, argument, item, &format!("{at}/{index}"))?;
                }
            }
            "anyOf" | "oneOf" => {
                let results: Vec<_> = argument
                    .as_array()
                    .expect("a list")
                    .iter()
                    .map(|schema| check(root, schema, value, at))
                    .collect();
                let fit = results.iter().filter(|result| result.is_ok()).count();
                if fit == 0 || (keyword == "oneOf" && fit > 1) {
                    return fail(format!("{fit} of the alternatives fit: {results:?}"));
                }
            }
            other => panic!("{at}: keyword {other} is not known to this check"),
        }
    }
    Ok(())
}

fn schema(file: &str) -> Value {
    let published = PUBLISHED
        .into_iter()
        .find(|schema| schema.file == file)
        .expect("published");
    serde_json::from_str(&published.text().expect("JSON")).expect("JSON")
}

fn validate(schema: &Value, value: &Value) -> Result<(), String> {
    check(schema, schema, value, "")
}

#[test]
fn a_report_fits_and_a_damaged_one_does_not() {
    let schema = schema("report.schema.json");
    let report = serde_json::to_value(sample::report()).expect("JSON");
    validate(&schema, &report).expect("it fits");
    for (pointer, bad) in [
        ("/schema_version", Value::from("1")),
        ("/processes/0/pid", Value::from(-1)),
        ("/processes/0/delivery/buckets/0/count", Value::Null),
        ("/alerts/0/severity", Value::from("awful")),
        ("/probe_set/0/state", Value::Null),
    ] {
        let mut damaged = report.clone();
        *damaged.pointer_mut(pointer).expect("it is there") = bad;
        assert!(validate(&schema, &damaged).is_err(), "{pointer}");
    }
    let mut short = report;
    short.as_object_mut().expect("an object").remove("loss");
    assert!(validate(&schema, &short).is_err());
}

#[test]
fn every_line_fits_and_is_of_one_type_only() {
    let schema = schema("events.schema.json");
    let report = sample::report();
    let mut out = Vec::new();
    jsonl::write_episode(&mut out, &sample::episode(), Some("/team/a"));
    for outcome in gohang_common::cause::Outcome::ALL {
        let episode = crate::event::Episode {
            outcome,
            goid: None,
            sender_pid: None,
            ..sample::episode()
        };
        jsonl::write_episode(&mut out, &episode, None);
    }
    jsonl::write_alert(&mut out, &report.alerts[0]);
    jsonl::write_interval(
        &mut out,
        &Interval::between(None, &report).expect("a first one"),
    );
    jsonl::write_end(&mut out, &report);
    let lines: Vec<Value> = serde_json::Deserializer::from_slice(&out)
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("JSON lines");
    assert_eq!(lines.len(), 10);
    for line in &lines {
        validate(&schema, line).expect("it fits");
    }
    for (name, bad) in [
        ("type", Value::from("other")),
        ("outcome", Value::from("lost")),
        ("cause", Value::from("none")),
        ("blocked_kind", Value::from("x")),
        ("directed", Value::Null),
    ] {
        let mut damaged = lines[0].clone();
        damaged[name] = bad;
        assert!(validate(&schema, &damaged).is_err(), "{name}");
    }
}

#[test]
fn a_comparison_fits() {
    let report = sample::report();
    let value = serde_json::to_value(compare(&report, &report)).expect("JSON");
    let schema = schema("compare.schema.json");
    validate(&schema, &value).expect("it fits");
    let mut damaged = value;
    damaged["processes"][0]["matched_by"] = Value::from("luck");
    assert!(validate(&schema, &damaged).is_err());
}

#[test]
fn a_benchmark_fits() {
    let value = serde_json::to_value(crate::bench::sample()).expect("JSON");
    let schema = schema("bench.schema.json");
    validate(&schema, &value).expect("it fits");
    for (pointer, bad) in [
        ("/measured/0/part", Value::from("other")),
        ("/measured/0/cells/0/from", Value::from("above")),
        ("/measured/0/cells/0/latency/total_ns", Value::Null),
        ("/measured/0/published/0/verdict", Value::from("perhaps")),
    ] {
        let mut damaged = value.clone();
        *damaged.pointer_mut(pointer).expect("it is there") = bad;
        assert!(validate(&schema, &damaged).is_err(), "{pointer}");
    }
}

#[test]
fn explanations_fit() {
    let all = crate::explain::explain(None).expect("all");
    let value = serde_json::to_value(&all).expect("JSON");
    let schema = schema("explain.schema.json");
    validate(&schema, &value).expect("they fit");
    let mut damaged = value;
    damaged["rules"][0]["summary"].take();
    assert!(validate(&schema, &damaged).is_err());
}
