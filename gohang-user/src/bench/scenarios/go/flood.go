// Command flood is a thread that works while it gets signals, or the process that sends them.
//
//	flood work LENGTH_MS
//
// works on a thread of its own, whose id it prints as `tid N` at first. Every 20 ms it prints
// how far it is, in three lines: `at N`, a Unix time in ns, `cpu N`, the CPU time of the process
// in ns, and `work N`, pieces of work done.
//
//	flood send PID TID LENGTH_MS
//
// sends SIGURG to that thread without a pause and prints `sent N`, how many it sent, and `begin
// N` and `end N`, Unix times in ns.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	work atomic.Uint64
	sum  atomic.Uint64
)

//go:noinline
func piece() {
	x := uint64(1)
	for i := 0; i < 1<<12; i++ {
		x = x*6364136223846793005 + 1442695040888963407
	}
	sum.Add(x & 1)
}

func number(i int) int {
	n, err := strconv.Atoi(os.Args[i])
	if err != nil {
		panic(err)
	}
	return n
}

func cpu() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

func send() {
	pid, tid := uintptr(number(2)), uintptr(number(3))
	begin := time.Now()
	end := begin.Add(time.Duration(number(4)) * time.Millisecond)
	sent := 0
	for {
		_, _, errno := syscall.RawSyscall(syscall.SYS_TGKILL, pid, tid, uintptr(syscall.SIGURG))
		if errno != 0 {
			panic(errno)
		}
		sent++
		if sent%64 == 0 && !time.Now().Before(end) {
			break
		}
	}
	fmt.Println("sent", sent)
	fmt.Println("begin", begin.UnixNano())
	fmt.Println("end", time.Now().UnixNano())
}

func main() {
	if os.Args[1] == "send" {
		send()
		return
	}
	tid := make(chan int)
	go func() {
		runtime.LockOSThread()
		tid <- syscall.Gettid()
		for {
			piece()
			work.Add(1)
		}
	}()
	fmt.Println("tid", <-tid)
	end := time.Now().Add(time.Duration(number(2)) * time.Millisecond)
	for time.Now().Before(end) {
		fmt.Printf("at %d\ncpu %d\nwork %d\n", time.Now().UnixNano(), cpu(), work.Load())
		time.Sleep(20 * time.Millisecond)
	}
}
