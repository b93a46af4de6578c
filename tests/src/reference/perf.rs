//! `perf_event_open`, its ring buffer and nothing else.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_COUNT_SW_DUMMY: u64 = 9;

const PERF_SAMPLE_TID: u64 = 1 << 1;
const PERF_SAMPLE_TIME: u64 = 1 << 2;
const PERF_SAMPLE_CPU: u64 = 1 << 7;
const PERF_SAMPLE_RAW: u64 = 1 << 10;

const FLAG_DISABLED: u64 = 1;
const FLAG_TASK: u64 = 1 << 13;
const FLAG_WATERMARK: u64 = 1 << 14;
const FLAG_SAMPLE_ID_ALL: u64 = 1 << 18;
const FLAG_USE_CLOCKID: u64 = 1 << 25;

const IOC_ENABLE: libc::c_ulong = 0x2400;
const IOC_DISABLE: libc::c_ulong = 0x2401;
const IOC_SET_OUTPUT: libc::c_ulong = 0x2405;
const IOC_SET_FILTER: libc::c_ulong = 0x4008_2406;

const FLAG_FD_CLOEXEC: libc::c_ulong = 8;

/// `struct perf_event_attr` as far as PERF_ATTR_SIZE_VER5 (kernel 4.1); the kernel takes the
/// rest as zero.
#[repr(C)]
#[derive(Default)]
struct Attr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_watermark: u32,
    bp_type: u32,
    config1: u64,
    config2: u64,
    branch_sample_type: u64,
    sample_regs_user: u64,
    sample_stack_user: u32,
    clockid: i32,
    sample_regs_intr: u64,
    aux_watermark: u32,
    sample_max_stack: u16,
    reserved: u16,
}

const _: () = assert!(size_of::<Attr>() == 112);

/// One open perf event on one CPU, for all processes.
pub struct Event(OwnedFd);

impl Event {
    /// Opens a tracepoint by its number; every hit is a sample with TID, TIME, CPU and RAW.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn tracepoint(id: u64, cpu: i32, filter: Option<&str>) -> io::Result<Self> {
        let event = Self::open(PERF_TYPE_TRACEPOINT, id, cpu, 0)?;
        if let Some(filter) = filter {
            let text = CString::new(filter)?;
            event.ioctl(IOC_SET_FILTER, text.as_ptr() as libc::c_ulong)?;
        }
        Ok(event)
    }

    /// Opens the event that carries the fork and exit records of everything on that CPU.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn task_records(cpu: i32) -> io::Result<Self> {
        Self::open(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_DUMMY, cpu, FLAG_TASK)
    }

    fn open(kind: u32, config: u64, cpu: i32, flags: u64) -> io::Result<Self> {
        let attr = Attr {
            kind,
            size: size_of::<Attr>() as u32,
            config,
            sample_period: 1,
            sample_type: PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU | PERF_SAMPLE_RAW,
            flags: flags | FLAG_DISABLED | FLAG_WATERMARK | FLAG_SAMPLE_ID_ALL | FLAG_USE_CLOCKID,
            // Nobody waits for the wake-up: the rings are drained on a timer.
            wakeup_watermark: 1 << 30,
            clockid: libc::CLOCK_MONOTONIC,
            ..Attr::default()
        };
        // SAFETY: `attr` is a valid attribute block of the size it states; the rest are numbers.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attr,
                -1,
                cpu,
                -1,
                FLAG_FD_CLOEXEC,
            )
        };
        let fd = i32::try_from(fd).unwrap_or(-1);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just returned this descriptor, nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn ioctl(&self, request: libc::c_ulong, arg: libc::c_ulong) -> io::Result<()> {
        // SAFETY: the descriptor is open; the only pointer passed is a string that outlives
        // the call.
        let rc = unsafe { libc::ioctl(self.0.as_raw_fd(), request as _, arg) };
        if rc < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Sends this event's records to another event's ring.
    ///
    /// # Errors
    /// The kernel's error (different CPU or clock).
    pub fn output_to(&self, other: &Self) -> io::Result<()> {
        self.ioctl(IOC_SET_OUTPUT, other.0.as_raw_fd() as libc::c_ulong)
    }

    /// Starts counting and recording.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn enable(&self) -> io::Result<()> {
        self.ioctl(IOC_ENABLE, 0)
    }

    /// Stops counting and recording.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn disable(&self) -> io::Result<()> {
        self.ioctl(IOC_DISABLE, 0)
    }

    /// How often the event happened: counted apart from the ring, so it knows what that lost.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn count(&self) -> io::Result<u64> {
        let mut value = 0u64;
        // SAFETY: the kernel writes one u64 (read_format is 0) into `value`.
        let n = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut value).cast(), 8) };
        if n == 8 {
            Ok(value)
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

/// A perf ring buffer mapped into this process.
pub struct Ring {
    base: *mut u8,
    map_len: usize,
    page: usize,
    mask: u64,
    tail: u64,
}

// SAFETY: the mapping belongs to this value alone, and it is used by one thread at a time.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps a ring of `data_bytes` (a power of two, at least a page) for `event`.
    ///
    /// # Errors
    /// The kernel's error (memory or locked-memory limit).
    pub fn map(event: &Event, data_bytes: usize) -> io::Result<Self> {
        // SAFETY: sysconf takes a constant.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).map_err(io::Error::other)?;
        let map_len = page + data_bytes;
        // SAFETY: a fresh shared mapping of the descriptor; the kernel checks its length.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                map_len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                event.0.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            base: base.cast(),
            map_len,
            page,
            mask: data_bytes as u64 - 1,
            tail: 0,
        })
    }

    /// `data_head` and `data_tail` of `struct perf_event_mmap_page` lie at 1024 and 1032.
    fn position(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the mapping's first page holds an aligned u64 there for as long as `self`
        // lives, and the kernel accesses it atomically.
        unsafe { AtomicU64::from_ptr(self.base.add(offset).cast()) }
    }

    /// Hands every complete record to `take` (header included) and frees its space.
    pub fn drain(&mut self, scratch: &mut Vec<u8>, mut take: impl FnMut(&[u8])) {
        let head = self.position(1024).load(Ordering::Acquire);
        while self.tail < head {
            let mut header = [0u8; 8];
            self.copy(self.tail, &mut header);
            let size = usize::from(u16::from_ne_bytes([header[6], header[7]]));
            assert!(size >= 8, "the kernel wrote a perf record of {size} bytes");
            scratch.resize(size, 0);
            self.copy(self.tail, scratch);
            take(scratch);
            self.tail += size as u64;
        }
        self.position(1032).store(self.tail, Ordering::Release);
    }

    fn copy(&self, at: u64, to: &mut [u8]) {
        let start = (at & self.mask) as usize;
        let first = to.len().min(self.mask as usize + 1 - start);
        // SAFETY: both pieces lie inside the data area, whose bytes from tail to head the
        // kernel does not touch until the tail is moved.
        unsafe {
            let data = self.base.add(self.page);
            std::ptr::copy_nonoverlapping(data.add(start), to.as_mut_ptr(), first);
            std::ptr::copy_nonoverlapping(data, to.as_mut_ptr().add(first), to.len() - first);
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: unmaps exactly what `map` mapped.
        unsafe { libc::munmap(self.base.cast(), self.map_len) };
    }
}
