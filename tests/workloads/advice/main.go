// Command advice is a process that there is something to say about, or not: it prints its
// GOMAXPROCS when it is so, and ends with its input.
//
//	advice [ignore] [mask] [busy=N] [bursts=N] [threads=N] [procs=N]
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// mask blocks SIGURG in a thread of its own, behind the runtime's back.
func mask() {
	const block = 0 // SIG_BLOCK, asm-generic/signal-defs.h
	runtime.LockOSThread()
	set := uint64(1) << (uint(syscall.SIGURG) - 1)
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, block,
		uintptr(unsafe.Pointer(&set)), 0, unsafe.Sizeof(set), 0, 0)
	if errno != 0 {
		panic(errno)
	}
}

// each runs do in that many threads of their own, each of which then waits for good.
func each(count int, do func()) {
	done := make(chan struct{})
	for range count {
		go func() {
			runtime.LockOSThread()
			do()
			done <- struct{}{}
			select {}
		}()
		<-done
	}
}

// spin never ends, and can be stopped.
func spin() {
	for {
	}
}

// burst spins for 60 ms out of every 330, at another time of a 100 ms period each time.
func burst() {
	for range time.Tick(330 * time.Millisecond) {
		for begin := time.Now(); time.Since(begin) < 60*time.Millisecond; {
		}
	}
}

func main() {
	for _, arg := range os.Args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		number, _ := strconv.Atoi(value)
		switch key {
		case "ignore":
			signal.Ignore(syscall.SIGURG)
		case "mask":
			each(1, mask)
		case "threads":
			each(number, func() {})
		case "procs":
			runtime.GOMAXPROCS(number)
		case "bursts":
			for range number {
				go burst()
			}
		case "busy":
			for range number {
				go spin()
			}
		default:
			fmt.Fprintln(os.Stderr, "advice: unknown:", arg)
			os.Exit(2)
		}
	}
	fmt.Printf("procs %d\n", runtime.GOMAXPROCS(0))
	// With everything ignored, the end of the input is what ends it.
	os.Stdin.Read(make([]byte, 1))
}
