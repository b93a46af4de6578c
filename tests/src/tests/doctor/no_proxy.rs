//! Which entries of `GOPROXY` are asked through the environment's HTTP proxy, as net/http says
//! it.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::{Project, SOUND_TEST, look};
use crate::go_build::{Form, Sources, build};
use crate::run::{Report, Settings};

const VERSION: &str = "1.27.3";
const SOURCES: &Sources = &[
    ("go.mod", include_str!("../../../workloads/proxy/go.mod")),
    ("main.go", include_str!("../../../workloads/proxy/main.go")),
];

/// Addresses and names that are kept for documentation, and this machine.
const URLS: [&str; 14] = [
    "https://a.example",
    "https://A.Example:8443/x",
    "http://a.example",
    "https://b.a.example",
    "https://xa.example",
    "https://192.0.2.7",
    "http://192.0.2.7:8080",
    "https://192.0.2.130",
    "https://198.51.100.1",
    "https://[2001:db8::1]",
    "https://[2001:db8:1::1]:8443",
    "https://[::ffff:192.0.2.7]",
    "http://localhost:1",
    "http://127.1.2.3:1",
];
/// The first of them are looked at in the short form.
const LISTS: [&str; 12] = [
    "192.0.2.0/25, 2001:db8::/48, .a.example, 198.51.100.1:80",
    "::ffff:192.0.2.0/120,a.example:443,[2001:db8:1::1]:8443",
    "0.0.0.0/0",
    "",
    "*",
    "::/0, *.example",
    "192.0.2.7:8080,a.example:",
    "192.0.2.0/33,192.0.2.7/,/8,:443,,",
    "::ffff:192.0.2.7,[2001:db8::1]",
    "example,2.7",
    "192.0.2.7/31,::ffff:192.0.2.0/90,2001:db8::/+32",
    "*a.example,192.0.2.*",
];
const SHORT: usize = 3;

/// Each list by itself, for the go command and for `doctor`; no network is there.
pub(super) fn no_proxy(settings: &Settings, report: &mut Report) -> Result<()> {
    let go_mod = "module example.org/x\n\ngo 1.21\n";
    let project = Project::new(settings, VERSION, go_mod, SOUND_TEST)?;
    let root = settings.go_root.as_ref().context("no --go-root")?;
    let oracle = root.join("workloads").join(format!("proxy-{VERSION}"));
    if !oracle.is_file() {
        build(root, VERSION, SOURCES, Form::default(), &oracle)?;
    }
    let goproxy = URLS.join(",");
    let lists = if settings.full { LISTS.len() } else { SHORT };
    let mut counts = [0, 0];
    for list in &LISTS[..lists] {
        let env = [
            ("HTTPS_PROXY", "http://192.0.2.99:3128"),
            ("HTTP_PROXY", "192.0.2.99:3128"),
            ("NO_PROXY", *list),
            ("GOPROXY", goproxy.as_str()),
        ];
        let mut program = Command::new(&oracle);
        program.args(URLS).env_clear().envs(env);
        let told = program.output().context("cannot run the program")?;
        let told = String::from_utf8(told.stdout)?;
        let told: Vec<bool> = told.lines().map(|line| line == "true").collect();
        ensure!(told.len() == URLS.len(), "{} answers", told.len());
        let mut command = project.command("unshare".as_ref())?;
        command.arg("-n").arg(settings.gohang()?);
        command.args(["doctor", "-o", "json", "."]).envs(env);
        let (_, found) = look(&mut command)?;
        let entries = found["project"]["proxies"]
            .as_array()
            .context("no proxies")?;
        ensure!(entries.len() == URLS.len(), "{} entries", entries.len());
        for ((url, entry), want) in URLS.iter().zip(entries).zip(told) {
            let through = &entry["through"];
            if through.is_null() == want {
                bail!("{url} with NO_PROXY={list:?}: {through}, but net/http says {want}");
            }
            counts[usize::from(want)] += 1;
        }
    }
    let [direct, through] = counts;
    report.note(format!(
        "{lists} lists: {direct} asked directly, {through} through the proxy"
    ));
    ensure!(direct > 0 && through > 0, "only one answer");
    Ok(())
}
