//! The machine that the suite runs on.

use std::thread;

use super::report::Machine;
use crate::experiment::ExperimentError;
use crate::privilege;

/// Looks at it.
pub(super) fn read() -> Result<Machine, ExperimentError> {
    let told = |path| std::fs::read_to_string(path).unwrap_or_default();
    Ok(Machine {
        kernel: privilege::kernel_release()?.text,
        architecture: std::env::consts::ARCH.to_owned(),
        cpus: thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64),
        cpu_model: cpu_model(&told("/proc/cpuinfo")),
        load_before: load(&told("/proc/loadavg")),
    })
}

/// The first model in `/proc/cpuinfo`; not every architecture names one.
fn cpu_model(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        let value = value.trim();
        (key.trim() == "model name" && !value.is_empty()).then(|| value.to_owned())
    })
}

/// The first figure of `/proc/loadavg`.
fn load(text: &str) -> Option<f64> {
    let load: f64 = text.split_whitespace().next()?.parse().ok()?;
    (load.is_finite() && load >= 0.0).then_some(load)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn models_and_loads_are_read() {
        let text = "processor\t: 0\nmodel\t\t: 1\nmodel name\t: Some CPU @ 2: 3 GHz\n";
        assert_eq!(cpu_model(text).as_deref(), Some("Some CPU @ 2: 3 GHz"));
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t:\n"), None);
        assert_eq!(load("0.52 0.58 0.59 1/467 12345\n"), Some(0.52));
        assert_eq!(load("NaN"), None);
        assert_eq!(load(""), None);
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "(\\PC|[:\n\t ]|model name)*") {
            let _ = (cpu_model(&text), load(&text));
        }
    }
}
