//! Control groups as text.

use super::{Page, known};
use crate::inspect::model::{Cpu, CpuStatistics, Groups, Limited, Member, Psi, Weight};
use crate::units::{cpus, duration, percent};

/// Everything about a process's groups.
pub(super) fn add(page: &mut Page, groups: &Groups, sample_ns: Option<u64>) {
    // A dozen hierarchies of version 1 mostly have one group.
    let same =
        |a: &Member, b: &Member| (a.version, &a.path, a.deleted) == (b.version, &b.path, b.deleted);
    for members in groups.members.chunk_by(same) {
        let member = &members[0];
        // Hierarchies without a controller only give names.
        let controllers: Vec<String> = members
            .iter()
            .map(|own| own.controllers.join(","))
            .collect();
        let deleted = if member.deleted { " (removed)" } else { "" };
        page.row(
            &format!("group (v{})", member.version),
            &format!("{}{deleted}: {}", member.path, controllers.join(" ")),
        );
    }
    if let Some(cpu) = &groups.cpu {
        add_cpu(page, cpu, sample_ns);
    }
    if let Some(cpusets) = &groups.cpuset {
        for level in &cpusets.levels {
            let list = |list: &Option<String>| match list.as_deref() {
                None | Some("") => "as above it".to_owned(),
                Some(list) => list.to_owned(),
            };
            let effective = level.effective.as_deref().unwrap_or("unknown");
            page.row(
                "cpuset",
                &format!(
                    "{}: CPUs {} (gets {effective}), memory nodes {}",
                    level.path,
                    list(&level.cpus),
                    list(&level.mems)
                ),
            );
        }
    }
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    add_limited(page, "memory", groups.memory.as_ref(), &mib);
    add_limited(page, "tasks", groups.pids.as_ref(), &|count| {
        count.to_string()
    });
}

fn add_cpu(page: &mut Page, cpu: &Cpu, sample_ns: Option<u64>) {
    for level in &cpu.levels {
        let quota = match (level.quota_ns, level.cpus()) {
            (Some(quota), Some(own)) => format!(
                "{} CPUs ({} in {}, burst {})",
                cpus(own),
                duration(quota),
                duration(level.period_ns),
                duration(level.burst_ns)
            ),
            _ => "no quota".to_owned(),
        };
        let weight = match level.weight {
            Some(Weight::Shares(shares)) => format!(", shares {shares}"),
            Some(Weight::Weight(weight)) => format!(", weight {weight}"),
            Some(Weight::Idle) => ", idle".to_owned(),
            None => String::new(),
        };
        page.row("cpu", &format!("{}: {quota}{weight}", level.path));
    }
    let beyond = if cpu.complete {
        ""
    } else {
        "; groups above are not visible here, and may be tighter"
    };
    let effective = match &cpu.effective {
        Some(own) => format!("{} CPUs, set by {}{beyond}", cpus(own.cpus), own.path),
        None => format!("none{beyond}"),
    };
    page.row("cpu, effective", &effective);
    if let Some(statistics) = &cpu.statistics {
        page.row("cpu so far", &figures(statistics));
    }
    if let (Some(sample), Some(ns)) = (&cpu.sample, sample_ns) {
        page.row(
            "cpu in the sample",
            &format!("{} of {}", figures(sample), duration(ns)),
        );
    }
    if let Some(own) = &cpu.pressure {
        page.row("cpu pressure", &pressure(own));
    }
}

fn figures(own: &CpuStatistics) -> String {
    let share = match (own.throttled_periods, own.periods) {
        (Some(throttled), Some(periods)) if periods > 0 => format!(
            "throttled in {throttled} of {periods} periods ({}), ",
            percent(throttled as f64 / periods as f64)
        ),
        (Some(_), Some(_)) => "no period ended, ".to_owned(),
        _ => String::new(),
    };
    let usage = known(own.usage_ns);
    let throttled = known(own.throttled_ns);
    let burst = match own.bursts {
        Some(bursts) if bursts > 0 => format!(", {bursts} bursts of {}", known(own.burst_ns)),
        _ => String::new(),
    };
    format!(
        "{}: {share}{throttled} throttled over its run queues{burst}, used {usage}",
        own.path
    )
}

fn add_limited(page: &mut Page, what: &str, own: Option<&Limited>, show: &dyn Fn(u64) -> String) {
    let Some(own) = own else { return };
    for level in &own.levels {
        let limit = level
            .limit
            .map_or("no limit".to_owned(), |limit| format!("of {}", show(limit)));
        let mut text = format!("{}: {} {limit}", level.path, show(level.current));
        if level.hits > 0 {
            text.push_str(&format!(", limit hit {} times", level.hits));
        }
        if level.kills > 0 {
            text.push_str(&format!(", {} killed", level.kills));
        }
        page.row(what, &text);
    }
    let effective = own.effective.as_ref().map_or("none".to_owned(), |own| {
        format!("{}, set by {}", show(own.limit), own.path)
    });
    page.row(&format!("{what}, effective"), &effective);
}

/// Pressure in one line.
pub(super) fn pressure(own: &Psi) -> String {
    let share = |of: f64| percent(of / 100.0);
    let mut text = format!(
        "some waited {} of the last 10 s, {} of 60 s, {} of 300 s",
        share(own.some.avg10),
        share(own.some.avg60),
        share(own.some.avg300)
    );
    if let Some(full) = &own.full {
        text.push_str(&format!(
            "; all waited {}, {}, {}",
            share(full.avg10),
            share(full.avg60),
            share(full.avg300)
        ));
    }
    text
}
