package main

import (
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// blockPreemption blocks SIGURG in this thread, behind the runtime's back.
func blockPreemption() {
	const block = 0 // SIG_BLOCK, asm-generic/signal-defs.h
	set := uint64(1) << (uint(syscall.SIGURG) - 1)
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, block,
		uintptr(unsafe.Pointer(&set)), 0, unsafe.Sizeof(set), 0, 0)
	if errno != 0 {
		panic(errno)
	}
}

// storm sends SIGURG every pause_us=N to a thread that spins.
func storm(s settings) {
	target := make(chan int)
	go func() {
		runtime.LockOSThread()
		target <- syscall.Gettid()
		spin(s.turns())
	}()
	pid, tid := syscall.Getpid(), <-target
	pause := time.Duration(s.get("pause_us", 100)) * time.Microsecond
	s.begin()
	for end := time.Now().Add(s.length()); time.Now().Before(end); {
		syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(pid), uintptr(tid), uintptr(syscall.SIGURG))
		if pause >= time.Millisecond {
			time.Sleep(pause)
			continue
		}
		// A timer of Go would be late by more than that. Asleep, it leaves its processor to
		// others: the signals are to be what is wrong, not the wait for a processor.
		ts := syscall.NsecToTimespec(pause.Nanoseconds())
		syscall.Nanosleep(&ts, nil)
	}
	ended.Store(true)
}
