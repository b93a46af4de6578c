//! JSON Schemas of what gohang prints, generated from the types.
//!
//! The committed files in `schema/` are the published contract; a test fails
//! when they are not what the types say.

use schemars::{Schema, schema_for};

use crate::bench::Bench;
use crate::bundle::Manifest;
use crate::compare::Comparison;
use crate::demo::Demo;
use crate::doctor::Doctor;
use crate::explain::Explanations;
use crate::inspect::Inspection;
use crate::report::Report;
use crate::run::explain::Verdict;
use crate::run::keep::{Difference, Opened, Timeline};
use crate::sink::jsonl::Line;

/// A published schema.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// Name of its file in `schema/`.
    pub file: &'static str,
    /// What it describes.
    pub title: &'static str,
    generate: fn() -> Schema,
}

/// Every schema that is published.
pub const PUBLISHED: [Published; 13] = [
    Published {
        file: "report.schema.json",
        title: "gohang trace -o json",
        generate: || schema_for!(Report),
    },
    Published {
        file: "events.schema.json",
        title: "a line of gohang trace -o jsonl",
        generate: || schema_for!(Line<'static>),
    },
    Published {
        file: "compare.schema.json",
        title: "gohang compare -o json",
        generate: || schema_for!(Comparison),
    },
    Published {
        file: "demo.schema.json",
        title: "gohang demo -o json",
        generate: || schema_for!(Demo),
    },
    Published {
        file: "bench.schema.json",
        title: "gohang bench -o json",
        generate: || schema_for!(Bench),
    },
    Published {
        file: "doctor.schema.json",
        title: "gohang doctor -o json",
        generate: || schema_for!(Doctor),
    },
    Published {
        file: "explain.schema.json",
        title: "gohang explain -o json",
        generate: || schema_for!(Explanations),
    },
    Published {
        file: "inspect.schema.json",
        title: "gohang inspect -o json",
        generate: || schema_for!(Inspection),
    },
    Published {
        file: "verdict.schema.json",
        title: "verdict.json of a bundle of gohang run",
        generate: || schema_for!(Verdict),
    },
    Published {
        file: "manifest.schema.json",
        title: "manifest.json of a bundle of gohang run",
        generate: || schema_for!(Manifest),
    },
    Published {
        file: "timeline.schema.json",
        title: "timeline.json of a bundle of gohang run",
        generate: || schema_for!(Timeline),
    },
    Published {
        file: "open.schema.json",
        title: "gohang open -o json",
        generate: || schema_for!(Opened),
    },
    Published {
        file: "diff.schema.json",
        title: "gohang diff -o json",
        generate: || schema_for!(Difference),
    },
];

impl Published {
    /// The text of its file.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        let mut schema = (self.generate)();
        schema.insert("title".to_owned(), self.title.into());
        Ok(serde_json::to_string_pretty(&schema)? + "\n")
    }
}

#[cfg(test)]
mod tests;
