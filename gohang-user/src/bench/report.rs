//! What the suite measured. Field names are the published contract.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::delivery::Delivery;
use super::scenarios::Scenarios;

/// Raised when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// A run of the benchmark suite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bench {
    /// Version of this document's form.
    pub schema_version: u32,
    /// Version of gohang that wrote it.
    pub gohang_version: String,
    /// When it was started (RFC 3339).
    pub started: String,
    /// Whether it was the quick form, whose runs are short.
    pub quick: bool,
    /// Where it ran.
    pub machine: Machine,
    /// What each part measured, in the order in which they ran.
    pub measured: Vec<Measured>,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// Architecture, as `uname -m` has it.
    pub architecture: String,
    /// CPUs that gohang may use.
    pub cpus: u64,
    /// Name of the first CPU's model; null where the kernel does not tell it.
    pub cpu_model: Option<String>,
    /// Load average of the minute before; null where the kernel does not tell it. Others'
    /// work makes waits for a CPU longer.
    pub load_before: Option<f64>,
}

/// What a part measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum Measured {
    /// The classic experiment.
    Delivery(Box<Delivery>),
    /// Stalls reported elsewhere.
    Scenarios(Scenarios),
}

impl Bench {
    /// What does not add up, in words; empty when all is well. Impossible things that were
    /// counted are apart.
    #[must_use]
    pub fn imbalances(&self) -> Vec<String> {
        let found = self.measured.iter().map(|measured| match measured {
            Measured::Delivery(delivery) => delivery.imbalances(),
            Measured::Scenarios(scenarios) => scenarios.imbalances(),
        });
        found.flatten().collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> Bench {
        Bench {
            schema_version: SCHEMA_VERSION,
            gohang_version: "0".to_owned(),
            started: "2026-11-01T12:00:00.000Z".to_owned(),
            quick: true,
            machine: Machine {
                kernel: "6.18.1".to_owned(),
                architecture: "x86_64".to_owned(),
                cpus: 2,
                cpu_model: Some("A \u{1b}[31mCPU".to_owned()),
                load_before: Some(0.25),
            },
            measured: vec![
                Measured::Delivery(Box::new(crate::bench::delivery::sample())),
                Measured::Scenarios(crate::bench::scenarios::sample()),
            ],
        }
    }

    #[test]
    fn a_document_comes_back() {
        let bench = sample();
        let text = serde_json::to_string(&bench).expect("JSON");
        assert!(text.contains("\"part\":\"delivery\""), "{text}");
        assert!(text.contains("\"part\":\"scenarios\""), "{text}");
        let back: Bench = serde_json::from_str(&text).expect("a document");
        assert_eq!(back, bench);
    }
}
