//! The figures as a page.

use std::fmt;

use super::spread::Spread;
use super::switches::{Switches, total};
use super::{Load, PROCESSES, STARTS, crowd};

/// Everything measured.
#[derive(Debug)]
pub struct Report {
    pub kernel: String,
    pub cpus: usize,
    pub version: String,
    pub rounds: usize,
    pub start_ms: Spread,
    pub switches: Switches,
    pub load: Load,
}

/// Markdown.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kernel,
            cpus,
            version,
            rounds,
            start_ms,
            switches,
            load,
        } = self;
        writeln!(
            f,
            "# What gohang costs\n\n\
             Printed by `cargo xtask bench cost` (as root), here with {version}, kernel \
             {kernel}, {cpus} CPUs.\n\
             Where nothing else is said, figures are medians, with quartiles in brackets.\n"
        )?;
        context_switches(f, switches, *rounds)?;
        programs(f, switches)?;
        let Load {
            rss_kib,
            peak_kib,
            map_kib,
            cpu_percent,
        } = load;
        let mib = |kib: &u64| *kib as f64 / 1024.0;
        writeln!(
            f,
            "\n## User space\n\n\
             | what | figure | aim |\n| --- | ---: | ---: |\n\
             | start of the process to `gohang: tracing`, {STARTS} starts | {start_ms:.0} ms | \
             below 300 ms |\n\
             | resident memory with {PROCESSES} traced processes | {:.1} MiB (peak {:.1}) | \
             30 MiB |\n\
             | CPU share with {PROCESSES} traced processes, {} signals/s in all | \
             {cpu_percent:.2} % of a CPU | 1 % |\n\
             | kernel memory of the maps | {:.1} MiB | |",
            mib(rss_kib),
            mib(peak_kib),
            PROCESSES as u128 * 1000 / crowd::PERIOD.as_millis(),
            mib(map_kib),
        )
    }
}

fn context_switches(f: &mut fmt::Formatter<'_>, switches: &Switches, rounds: usize) -> fmt::Result {
    let Switches {
        nothing,
        extra,
        whole_ratio,
        switch_ratio,
        ..
    } = switches;
    writeln!(
        f,
        "## A context switch\n\n\
         Two threads on one CPU wake each other through pipes: CPU time of both a switch, \
         {rounds} alternating\nrounds, of each of which the cheapest batch counts. What a host's \
         other guests take comes on top and\nlasts for seconds: so it is the lower decile of the \
         rounds that is given, in brackets with its\ndistribution-free 95 % interval from order \
         statistics; of a difference, the ends that are furthest\napart. The empty programs \
         return at once and hang on the same hooks.\n\n\
         | attached | ns a switch |\n| --- | ---: |\n\
         | nothing | {nothing} |"
    )?;
    for (setting, floor) in extra {
        let sign = if floor.decile < 0.0 { "" } else { "+" };
        writeln!(f, "| {setting} | {sign}{floor} |")?;
    }
    writeln!(
        f,
        "\nFor switches that concern nobody who is traced, the whole set costs {whole_ratio:.2} \
         times what the empty\nset costs, `sched_switch` alone {switch_ratio:.2} times (aim: \
         1.5)."
    )
}

fn programs(f: &mut fmt::Formatter<'_>, switches: &Switches) -> fmt::Result {
    let Switches {
        programs, empty_ns, ..
    } = switches;
    writeln!(
        f,
        "\n## The kernel programs\n\n\
         Instructions as loaded (after the verifier's rewriting), bytes of machine code, \
         instructions that the\nverifier looked at, and nanoseconds a run from the kernel's BPF \
         run-time statistics during the\nping-pong; these include the cost of the statistics' own \
         clock, as the figures of the empty\nprograms show.\n\n\
         | hook | instructions | bytes | verified | ns a run, empty | not traced | traced |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    )?;
    let ns = |figure: Option<f64>| figure.map_or(String::new(), |ns| format!("{ns:.0}"));
    for program in programs {
        let info = program.info;
        writeln!(
            f,
            "| `{}` | {} | {} | {} | {} | {} | {} |",
            program.hook,
            info.instructions,
            info.machine_bytes,
            info.verified,
            ns(empty_ns.get(&program.hook).copied()),
            ns(program.untraced_ns),
            ns(program.traced_ns),
        )?;
    }
    writeln!(
        f,
        "| all | {} | {} | {} | | | |",
        total(programs, |info| info.instructions),
        total(programs, |info| info.machine_bytes),
        total(programs, |info| info.verified),
    )
}
