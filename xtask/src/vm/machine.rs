//! Boots one kernel and waits for its results.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::apt::remove_folder;
use super::setup::Setup;
use super::tools::Tools;
use crate::process::describe;

/// The kernel's command line. Emulated time stands still whenever the host is busy, and the
/// kernel would then put the TSC away for a clock of another rate than its scheduler's.
/// And where it jumps over idle spells, hours pass in it while the host reads from its disk.
/// A kernel that has lost a thread to an error of its own panics: what goes on without it, or
/// waits for it, tests nothing.
/// A machine that hangs is sent a non-maskable interrupt: it then panics and says what each
/// processor did (`panic_print`, bit 6, from 5.18 on).
const KERNEL_ARGUMENTS: &str = "console=ttyS0 panic=-1 oops=panic quiet tsc=reliable clocksource=tsc nvme_core.io_timeout=4000000 \
     nvme_core.admin_timeout=4000000 unknown_nmi_panic panic_print=64";

/// Size of the disk that takes the results back, bytes.
const DISK: u64 = 32 << 20;

/// What a test machine left behind.
#[derive(Debug, Clone)]
pub struct Results {
    /// What the tests printed.
    pub output: String,
    /// Exit status of the suite; none if the machine did not get so far.
    pub status: Option<i32>,
    /// What kept it from getting so far, as far as is known.
    pub problem: Option<String>,
    /// Whether it had to be ended.
    pub hung: bool,
    /// Why it was booted a second time, if it was.
    pub booted_again: Option<&'static str>,
    /// How long it ran.
    pub took: Duration,
    /// Where its console, output, kernel messages and emulator's messages lie.
    pub folder: PathBuf,
}

impl Results {
    /// The machine's console: the kernel's last words.
    pub fn console(&self) -> String {
        read(&self.folder.join("console.log"))
    }

    /// What the machine left in this file below `/out`; nothing if there is none.
    pub fn file(&self, name: &str) -> String {
        read(&self.folder.join(name))
    }

    /// The emulator's fault, if that is what kept the machine from its end: where two
    /// emulated processors meet while the kernel patches its text, one of them takes the
    /// breakpoint that is being put there for one of its own.
    /// Or it hangs before that has come to its init.
    pub fn emulator_fault(&self) -> Option<&'static str> {
        if self.status.is_some() {
            return None;
        }
        let console = self.console();
        if console.contains("Oops: int3") {
            return Some("the emulator lost a breakpoint in text that the kernel was patching");
        }
        if console.is_empty() && self.output.is_empty() {
            return Some("the emulator did not get as far as the machine's init");
        }
        let is_stuck = self.hung && !console.contains("Kernel panic");
        is_stuck.then_some("its processors stood still: they did not take an NMI")
    }
}

/// How long a kernel may take to say what it hangs in.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Has a machine that hangs panic, and ends it.
fn end(child: &mut Child) -> Result<()> {
    if let Some(monitor) = &mut child.stdin {
        // Without a monitor there are no last words; the machine is ended all the same.
        let _ = monitor.write_all(b"nmi\n");
    }
    let asked = Instant::now();
    while child.try_wait().context("the emulator")?.is_none() {
        if asked.elapsed() > LAST_WORDS {
            child.kill().context("the emulator")?;
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A machine's init has said that it started by then; it takes some seconds.
const SILENT_LIMIT: Duration = Duration::from_secs(90);

/// Boots `vmlinuz` with `initramfs`, and waits at most `limit` for it to power off.
/// The emulator's exit status says nothing: it is zero after a panic too.
///
/// # Errors
/// When the emulator cannot be started or a file cannot be written.
pub fn run(
    tools: &Tools,
    setup: &Setup,
    vmlinuz: &Path,
    initramfs: &Path,
    folder: &Path,
    limit: Duration,
) -> Result<Results> {
    remove_folder(folder)?;
    fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    let file = |name: &str| {
        let path = folder.join(name);
        File::create(&path).with_context(|| format!("could not write {}", path.display()))
    };
    file("disk")?.set_len(DISK).context("the machine's disk")?;
    let messages = file("qemu.log")?;
    let mut command = tools.qemu();
    setup.processors.apply(&mut command);
    command
        .args(["-cpu", "max", "-m", "1G"])
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ])
        .args(["-serial", "file:console.log", "-monitor", "stdio"])
        .args(["-chardev", "file,id=output,path=output.log"])
        .args(["-device", "isa-serial,index=1,chardev=output"])
        .args([
            "-drive",
            "file=disk,if=none,id=disk,format=raw,cache=unsafe",
        ])
        .args(["-device", "nvme,drive=disk,serial=results"])
        .arg("-kernel")
        .arg(vmlinuz)
        .arg("-initrd")
        .arg(initramfs)
        .arg("-append")
        .arg(format!("{KERNEL_ARGUMENTS} {}", setup.arguments))
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(messages.try_clone().context("the emulator's messages")?)
        .stderr(messages);
    let begin = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("could not start `{}`", describe(&command)))?;
    let mut problem = None;
    let mut hung = false;
    while child.try_wait().context("the emulator")?.is_none() {
        let said = |name: &str| {
            folder
                .join(name)
                .metadata()
                .is_ok_and(|file| file.len() > 0)
        };
        let silent = begin.elapsed() > SILENT_LIMIT && !said("console.log") && !said("output.log");
        if silent || begin.elapsed() > limit {
            problem = Some(match silent {
                true => format!("it said nothing within {} s", SILENT_LIMIT.as_secs()),
                false => format!("it did not end within {} s", limit.as_secs()),
            });
            end(&mut child)?;
            hung = true;
            break;
        }
        sleep(Duration::from_millis(50));
    }
    let took = begin.elapsed();
    let unpacked = Command::new("tar")
        .args(["-xf", "disk"])
        .current_dir(folder)
        .stderr(Stdio::null())
        .status()
        .context("could not start tar")?;
    let status = read(&folder.join("status")).trim().parse().ok();
    if status.is_none() && problem.is_none() {
        problem = Some(format!(
            "it handed no exit status back (tar: {unpacked}); {}",
            read(&folder.join("qemu.log")).trim()
        ));
    }
    fs::remove_file(folder.join("disk")).context("the machine's disk")?;
    Ok(Results {
        // The terminal layer ends lines with two characters.
        output: read(&folder.join("output.log")).replace("\r\n", "\n"),
        status,
        problem,
        hung,
        booted_again: None,
        took,
        folder: folder.to_owned(),
    })
}

/// A file's text; nothing if there is none.
fn read(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
