//! What goroutines wait for.

use crate::golang::dump::Goroutine;

/// What keeps a goroutine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wait {
    /// A lock.
    Lock,
    /// A channel, or several.
    Channel,
    /// A wait group or a condition variable.
    Group,
    /// A descriptor: a network connection, a pipe.
    Io,
    /// A time.
    Sleep,
    /// A system call.
    Syscall,
    /// The collector: its own work or others' stopping.
    Collector,
    /// Nothing: it runs, or could.
    Running,
    /// Something else.
    Other,
}

impl Wait {
    /// By the status in the dump (`waitReasonStrings` in runtime/runtime2.go, Go 1.14 to 1.27),
    /// and by the stack where older versions say `semacquire` of everything.
    pub fn of(goroutine: &Goroutine) -> Self {
        let status = goroutine.header.status.as_str();
        match status {
            "running" | "runnable" | "preempted" | "copystack" => Self::Running,
            "syscall" => Self::Syscall,
            "sleep" => Self::Sleep,
            "IO wait" => Self::Io,
            "sync.Mutex.Lock" | "sync.RWMutex.Lock" | "sync.RWMutex.RLock" => Self::Lock,
            "sync.WaitGroup.Wait" | "sync.Cond.Wait" => Self::Group,
            "semacquire" => Self::of_semaphore(goroutine),
            "stopping the world" | "wait for GC cycle" => Self::Collector,
            _ if status.starts_with("chan ") || status.starts_with("select") => Self::Channel,
            _ if status.contains("GC") || status.contains("garbage collection") => Self::Collector,
            _ => Self::Other,
        }
    }

    fn of_semaphore(goroutine: &Goroutine) -> Self {
        let within = |name: &str| {
            let mut frames = goroutine.frames.iter();
            frames.any(|frame| frame.function.starts_with(name))
        };
        if within("sync.(*Mutex)") || within("sync.(*RWMutex)") || within("internal/sync.") {
            Self::Lock
        } else if within("sync.(*WaitGroup)") || within("sync.(*Cond)") {
            Self::Group
        } else if within("runtime.GC")
            || within("runtime.gcStart")
            || within("runtime.stopTheWorld")
        {
            Self::Collector
        } else {
            Self::Other
        }
    }

    /// Whether only another goroutine can end it.
    pub fn is_for_goroutine(self) -> bool {
        matches!(self, Self::Lock | Self::Channel | Self::Group)
    }
}
