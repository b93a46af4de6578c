//! Puts what the machines measured into the documentation. The long form may be run kernel by
//! kernel: what was measured with one kernel object is kept until all are there.
//!
//! The suite notes it as lines of `SUBJECT KIND key=value...`, in which values have no
//! spaces; see `causes` and `scene` there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::kernels::{Image, KERNELS};
use crate::build_ebpf;
use crate::process::output;
use crate::tally::{Tally, notes};
use crate::workspace::Workspace;

/// The document, relative to the workspace.
const DOCUMENT: &str = "docs/kernels.md";

/// Throttled time that is measured in more than one way, and what each is.
const MEASURES: [(&str, &str); 4] = [
    ("stall", "the threads' stalls"),
    ("episodes", "the episodes' throttled components"),
    ("spans", "spans of the group out of quota"),
    ("stall-and-runqueue", "stalls and waits for a CPU"),
];

/// Tests that hold causes against injected ones, and what each adds to gohang's own choice.
const CONFUSION: [(&str, &str); 2] = [
    ("causes::confusion", ""),
    (
        "causes::without_queue_hooks",
        ", without the hooks on run queues",
    ),
];

/// What the machines of one kernel printed.
#[derive(Debug, Serialize, Deserialize)]
struct Kernel {
    /// The kernel object that was measured, by its sha256.
    object: String,
    /// The commit that was.
    commit: String,
    /// `major.minor`.
    name: String,
    /// The package that it is from.
    package: String,
    /// The output of its machines, one after the other.
    output: String,
    tally: Tally,
}

/// What the machines printed, by kernel.
#[derive(Debug)]
pub struct Measured {
    kernels: Vec<Kernel>,
    /// The commit that the tree was at when that began.
    commit: String,
}

impl Measured {
    /// Nothing yet, of the tree as it is.
    ///
    /// # Errors
    /// It is no git repository.
    pub fn begin(workspace: &Workspace) -> Result<Self> {
        let commit = output(
            Command::new("git")
                .args(["describe", "--always", "--dirty", "--abbrev=12"])
                .current_dir(&workspace.root),
        )
        .context("docs/kernels.md names the commit that was measured")?;
        Ok(Self {
            kernels: Vec::new(),
            commit: commit.trim().to_owned(),
        })
    }

    /// Adds a machine's output.
    pub fn add(&mut self, image: &Image, output: &str, tally: &Tally) {
        let name = image.kernel.name;
        if let Some(known) = self.kernels.iter_mut().find(|kernel| kernel.name == name) {
            known.output.push_str(output);
            known.tally.add(tally.clone());
            return;
        }
        self.kernels.push(Kernel {
            object: String::new(),
            commit: self.commit.clone(),
            name: name.to_owned(),
            package: image.package.clone(),
            output: output.to_owned(),
            tally: tally.clone(),
        });
    }

    /// Keeps what was measured of kernels in a folder, but for those in which something was
    /// wrong, and writes the document if the same kernel object was measured on all.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(self, workspace: &Workspace, folder: &Path, wrong: &[&str]) -> Result<()> {
        let object = build_ebpf::committed(workspace)?;
        fs::create_dir_all(folder)
            .with_context(|| format!("could not make {}", folder.display()))?;
        for mut kernel in self.kernels {
            if wrong.contains(&&*kernel.name) || !kernel.is_whole() {
                continue;
            }
            kernel.object.clone_from(&object);
            let path = folder.join(&kernel.name);
            fs::write(&path, serde_json::to_vec(&kernel)?)
                .with_context(|| format!("could not write {}", path.display()))?;
        }
        let kept = KERNELS.iter().filter_map(|known| {
            let bytes = fs::read(folder.join(known.name)).ok()?;
            serde_json::from_slice::<Kernel>(&bytes).ok()
        });
        let kept: Vec<Kernel> = kept.filter(|kernel| kernel.object == object).collect();
        if kept.len() < KERNELS.len() {
            println!(
                "{DOCUMENT} is not written: {} of {} kernels are measured with this kernel object",
                kept.len(),
                KERNELS.len()
            );
            return Ok(());
        }
        let path = workspace.root.join(DOCUMENT);
        fs::write(&path, render(&kept, &object))
            .with_context(|| format!("could not write {}", path.display()))?;
        println!("{DOCUMENT} is written");
        Ok(())
    }
}

impl Kernel {
    /// Whether everything that the document has was measured.
    fn is_whole(&self) -> bool {
        ["throttle::scenes", CONFUSION[0].0]
            .iter()
            .all(|test| notes(&self.output, test).next().is_some())
    }
}

/// A line's words behind the first two.
type Values<'a> = BTreeMap<&'a str, &'a str>;

/// The lines of this subject and kind that a test noted.
fn lines<'a>(output: &'a str, test: &str, subject: &str, kind: &str) -> Vec<Values<'a>> {
    let wanted = [subject, kind];
    notes(output, test)
        .filter(|line| line.split_whitespace().take(2).eq(wanted))
        .map(|line| {
            let words = line.split_whitespace().skip(2);
            words.filter_map(|word| word.split_once('=')).collect()
        })
        .collect()
}

/// The line that names the kernel object that was measured.
fn object_line(sha256: &str) -> String {
    format!("Kernel object: sha256 `{sha256}`.")
}

/// The whole document; the kernel object by its sha256.
fn render(kernels: &[Kernel], object: &str) -> String {
    let mut text = format!(
        "# What was measured on each kernel\n\n\
         Generated by `cargo xtask vm --full`: real Debian kernels, emulated, with cgroup v2.\n\
         Where time is measured, the machine's clocks count its instructions, so that the\n\
         figures do not depend on the host.\n\n\
         {}\n\n\
         | kernel | package | step of the ladder | commit | tests |\n\
         | --- | --- | --- | --- | --- |\n",
        object_line(object)
    );
    for kernel in kernels {
        let run = lines(&kernel.output, "throttle::scenes", "throttle", "run");
        let step = value(run.first(), "precision");
        let Kernel {
            name,
            package,
            commit,
            tally,
            ..
        } = kernel;
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            text,
            "| {name} | {package} | `{step}` | `{commit}` | {tally} |"
        );
    }
    throttled(&mut text, kernels);
    estimates(&mut text, kernels);
    causes(&mut text, kernels);
    text
}

fn value<'a>(values: Option<&Values<'a>>, key: &str) -> &'a str {
    values.and_then(|found| found.get(key)).unwrap_or(&"-")
}

/// A table with a row a name and a column a kernel.
fn table(text: &mut String, what: &str, kernels: &[&Kernel], rows: &[(String, Vec<String>)]) {
    let names: Vec<&str> = kernels.iter().map(|kernel| &*kernel.name).collect();
    let _ = writeln!(text, "\n| {what} | {} |", names.join(" | "));
    let _ = writeln!(text, "| --- |{}", " ---: |".repeat(names.len()));
    for (name, cells) in rows {
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
}

/// The scenes in their order, by the first kernel that played them.
fn scenes<'a>(found: &[Vec<Values<'a>>]) -> Vec<&'a str> {
    let mut names = Vec::new();
    for values in found.iter().flatten() {
        let name = value(Some(values), "scene");
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn throttled(text: &mut String, kernels: &[Kernel]) {
    text.push_str(
        "\n## Throttled time\n\n\
         Percent that gohang is off from the kernel's own `cpu.stat` over 50 periods of 20 ms and\n\
         more; for the woken sleeper, from its own clocks. From 6.18 on spans begin before the\n\
         kernel's count does, which starts when a thread is parked: of those, in brackets, what\n\
         is allowed for that, 250 us a span.\n",
    );
    let tests = [
        (&["throttle::scenes", "throttle::burst"][..], ""),
        (
            &["throttle::without_queue_hooks"],
            ", without the hooks on run queues",
        ),
    ];
    for (tests, how) in tests {
        for (measure, what) in MEASURES {
            let all = kernels.iter().map(|kernel| {
                let found = tests
                    .iter()
                    .flat_map(|test| lines(&kernel.output, test, "throttle", measure));
                (kernel, found.collect::<Vec<_>>())
            });
            let (with, found): (Vec<&Kernel>, Vec<_>) =
                all.filter(|(_, found)| !found.is_empty()).unzip();
            let rows: Vec<(String, Vec<String>)> = scenes(&found)
                .into_iter()
                .map(|scene| (scene.to_owned(), off(&found, scene)))
                .collect();
            if !rows.is_empty() {
                table(text, &format!("{what}{how}"), &with, &rows);
            }
        }
    }
}

/// What each kernel says of a scene; several figures of one scene side by side.
fn cells(found: &[Vec<Values<'_>>], scene: &str, key: &str) -> Vec<String> {
    let cell = |values: &Vec<Values<'_>>| {
        let own = values
            .iter()
            .filter(|one| value(Some(one), "scene") == scene);
        let all: Vec<&str> = own.map(|one| value(Some(one), key)).collect();
        match all.len() {
            0 => "-".to_owned(),
            _ => all.join(", "),
        }
    };
    found.iter().map(cell).collect()
}

/// How far each kernel is off, with what is allowed for parks where that is not nothing.
fn off(found: &[Vec<Values<'_>>], scene: &str) -> Vec<String> {
    let one = |values: &Values<'_>| {
        let number = |key| value(Some(values), key).parse::<f64>().unwrap_or(0.0);
        let off = value(Some(values), "off_percent");
        match number("allowed_ns") / number("truth_ns") * 100.0 {
            allowed if allowed > 0.0 => format!("{off} ({allowed:.2})"),
            _ => off.to_owned(),
        }
    };
    let cell = |values: &Vec<Values<'_>>| {
        let own = values
            .iter()
            .filter(|one| value(Some(one), "scene") == scene);
        let all: Vec<String> = own.map(one).collect();
        if all.is_empty() {
            "-".to_owned()
        } else {
            all.join(", ")
        }
    };
    found.iter().map(cell).collect()
}

fn estimates(text: &mut String, kernels: &[Kernel]) {
    let of = |kind| -> Vec<_> {
        kernels
            .iter()
            .map(|kernel| lines(&kernel.output, "throttle::scenes", "throttle", kind))
            .collect()
    };
    let (found, stated) = (of("estimate"), of("estimates"));
    let all: Vec<&Kernel> = kernels.iter().collect();
    let row = |scene: &str| (scene.to_owned(), cells(&found, scene, "p99_ns"));
    let mut rows: Vec<_> = scenes(&found).into_iter().map(row).collect();
    for (what, key) in [("alone", "alone_p99_ns"), ("waiting", "waiting_p99_ns")] {
        let own = |values: &Vec<Values<'_>>| value(values.first(), key).to_owned();
        let cells = stated.iter().map(own).collect();
        rows.push((format!("*stated by gohang: {what}*"), cells));
    }
    text.push_str(
        "\n## The estimate\n\n\
         How far the throttled time of an episode is from the exact step's with\n\
         `--throttle-source switch-point-estimate`, both attached at once: the 99th percentile,\n\
         in nanoseconds, of the thread with the largest, over the episodes that either calls\n\
         throttled; below, what reports and `gohang doctor` state, for a thread that has its run\n\
         queue to itself and for one that waits behind others (here at a period of 20 ms).\n\
         Kernels from 6.18 on never need the estimate.\n",
    );
    if let Some((ns, scene, kernel)) = worst(kernels, &found) {
        let _ = writeln!(text, "The worst is {scene} on {kernel}: {ns} ns.");
    }
    table(text, "scene", &all, &rows);
    let rows: Vec<(String, Vec<String>)> = scenes(&found)
        .into_iter()
        .map(|scene| (scene.to_owned(), stalls_off(&found, scene)))
        .collect();
    text.push_str(
        "\nThe sum of all stalls by the estimate, percent off the exact step's: who waits behind\n\
         others, or wakes up, while the group is out of quota is taken to wait for a CPU.\n",
    );
    table(text, "scene", &all, &rows);
}

/// The largest 99th percentile, ns, with its scene and kernel.
fn worst<'a>(kernels: &'a [Kernel], found: &[Vec<Values<'a>>]) -> Option<(u64, &'a str, &'a str)> {
    let all = kernels.iter().zip(found);
    let all = all.flat_map(|(kernel, found)| found.iter().map(move |one| (kernel, one)));
    all.filter_map(|(kernel, one)| {
        let ns = value(Some(one), "p99_ns").parse().ok()?;
        Some((ns, value(Some(one), "scene"), &*kernel.name))
    })
    .max_by_key(|(ns, ..)| *ns)
}

/// How far each kernel's estimate of all stalls in a scene is off, percent.
fn stalls_off(found: &[Vec<Values<'_>>], scene: &str) -> Vec<String> {
    let cell = |values: &Vec<Values<'_>>| {
        let own = values.iter().find(|one| value(Some(one), "scene") == scene);
        let number = |key| value(own, key).parse::<f64>().ok();
        match (number("stall_ns"), number("exact_stall_ns")) {
            (Some(estimate), Some(exact)) if exact > 0.0 => {
                format!("{:+.2}", (estimate / exact - 1.0) * 100.0)
            }
            _ => "-".to_owned(),
        }
    };
    found.iter().map(cell).collect()
}

fn causes(text: &mut String, kernels: &[Kernel]) {
    text.push_str(
        "\n## Causes\n\n\
         Signals are held up in a way that is written down before gohang's output is read. Rows\n\
         are what was done, columns what gohang called it. Uncertain are those of which it is\n\
         not known whether what was done lasted for as long as it was to, as the emulator's host\n\
         had other work: they are matched, and not scored. The pace is how many times as long\n\
         all of that takes as on a fast machine.\n",
    );
    let all = kernels
        .iter()
        .flat_map(|kernel| CONFUSION.map(|(test, how)| (kernel, test, how)));
    for (kernel, test, how) in all {
        let lines = |kind| lines(&kernel.output, test, "causes", kind);
        let (run, matched) = (lines("run"), lines("match"));
        if run.is_empty() {
            continue;
        }
        let of = |values: &[Values<'_>], key| value(values.first(), key).to_owned();
        let _ = writeln!(
            text,
            "\n### {}, `{}`{how}\n\n\
             {} injected, {} matched, {} missing, {} in excess; pace {}, quota's period {} us.\n",
            kernel.name,
            of(&run, "precision"),
            of(&matched, "labels"),
            of(&matched, "matched"),
            of(&matched, "missing"),
            of(&matched, "surplus"),
            of(&run, "pace"),
            of(&run, "period_us")
        );
        let names = ["throttled", "masked", "blocked", "runqueue", "running"];
        let _ = writeln!(
            text,
            "| cause | {} | uncertain | precision | recall |",
            names.join(" | ")
        );
        let _ = writeln!(text, "| --- |{}", " ---: |".repeat(names.len() + 3));
        for row in lines("row") {
            let label = value(Some(&row), "label");
            let counts: Vec<&str> = names.iter().map(|name| value(Some(&row), name)).collect();
            let scores = lines("score");
            let score = scores.iter().find(|one| value(Some(one), "cause") == label);
            let _ = writeln!(
                text,
                "| {label} | {} | {} | {} % | {} % |",
                counts.join(" | "),
                value(Some(&row), "uncertain"),
                value(score, "precision"),
                value(score, "recall")
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    fn kernel(name: &str, off: &str) -> Kernel {
        Kernel {
            object: "abc".to_owned(),
            commit: "1234".to_owned(),
            name: name.to_owned(),
            package: "p 1".to_owned(),
            output: format!(
                "test throttle::scenes ... ok (1.0 s)\n\
                 \x20   throttle run kernel=6.1.0 precision=cfs-rq-overlay\n\
                 \x20   throttle stall scene=alone ours_ns=1 truth_ns=1 off_percent={off}\n\
                 \x20   throttle spans scene=two ours_ns=1 truth_ns=1 off_percent=+0.1\n\
                 \x20   throttle spans scene=two ours_ns=1 truth_ns=1000 off_percent=+0.2 allowed_ns=5\n\
                 \x20   throttle estimates alone_p99_ns=50 waiting_p99_ns=60\n\
                 \x20   throttle estimate scene=alone p99_ns=77 pairs=3 stall_ns=9 exact_stall_ns=10\n\
                 test causes::confusion ... ok (1.0 s)\n\
                 \x20   causes run kernel=6.1.0 precision=cfs-rq-overlay injections=2 pace=2 period_us=20000\n\
                 \x20   causes match labels=10 matched=10 missing=0 surplus=0\n\
                 \x20   causes row label=masked throttled=0 masked=2 blocked=0 runqueue=0 running=0 uncertain=7\n\
                 \x20   causes score cause=masked precision=100.00 recall=99.00\n\
                 2 passed, 0 failed, 0 skipped\n"
            ),
            tally: Tally {
                passed: 2,
                ..Tally::default()
            },
        }
    }

    #[test]
    fn the_committed_page_is_of_the_committed_object() {
        let manifest = include_str!("../../../gohang-user/bpf/gohang.bpf.o.json");
        let manifest: Manifest = serde_json::from_str(manifest).expect("a manifest");
        let line = object_line(&manifest.object.sha256);
        let page = include_str!("../../../docs/kernels.md");
        assert!(
            page.lines().any(|own| own == line),
            "docs/kernels.md is of another object: `cargo xtask vm --full` writes it anew"
        );
    }

    #[test]
    fn figures_stand_where_they_belong() {
        let kernels = [kernel("5.10", "-0.021"), kernel("6.1", "+0.300")];
        let text = render(&kernels, "abc");
        for line in [
            "| 6.1 | p 1 | `cfs-rq-overlay` | `1234` | 2 passed, 0 failed, 0 skipped |",
            "| the threads' stalls | 5.10 | 6.1 |",
            "| alone | -0.021 | +0.300 |",
            "| two | +0.1, +0.2 (0.50) | +0.1, +0.2 (0.50) |",
            "| alone | 77 | 77 |",
            "| *stated by gohang: waiting* | 60 | 60 |",
            "| alone | -10.00 | -10.00 |",
            "The worst is alone on 6.1: 77 ns.",
            "Kernel object: sha256 `abc`.",
            "10 injected, 10 matched, 0 missing, 0 in excess; pace 2, quota's period 20000 us.",
            "| masked | 0 | 2 | 0 | 0 | 0 | 7 | 100.00 % | 99.00 % |",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
        }
        assert!(!text.contains("without the hooks"));
    }
}
