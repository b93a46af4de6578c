// Command failures makes preemption fail in one way at a time, or not at all: each way has a
// setting without which the same work is healthy.
//
//	failures WAY [KEY=VALUE ...]
//
// Every way knows seconds=N, after which it ends, and wait=1, with which it begins at the first
// byte of standard input. It prints `ready` before it begins. See the functions for the ways and
// their other keys.
package main

import (
	"bufio"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A way to fail.
type way func(s settings)

var ways = map[string]way{
	"copy":   copyLoop,
	"gc":     collect,
	"ignore": ignore,
	"mask":   mask,
	"spin":   spinAll,
	"stop":   stopTheWorld,
	"stops":  countStops,
	"storm":  storm,
}

// ended tells the loops to end.
var ended atomic.Bool

// settings are the values of a command line.
type settings map[string]uint64

// get returns a value, or what it is when it is not given.
func (s settings) get(key string, otherwise uint64) uint64 {
	if value, given := s[key]; given {
		return value
	}
	return otherwise
}

// length is how long the way is to last.
func (s settings) length() time.Duration {
	return time.Duration(s.get("seconds", 10)) * time.Second
}

// begin prints `ready` and waits, if it is to.
func (s settings) begin() {
	fmt.Println("ready")
	if s.get("wait", 0) != 0 {
		// An end of the input is a beginning too: the deadlines end what begins then.
		bufio.NewReader(os.Stdin).ReadByte()
	}
}

// last sleeps until the way is to end.
func (s settings) last() {
	end := time.Now().Add(s.length())
	for time.Now().Before(end) {
		time.Sleep(time.Millisecond)
	}
	ended.Store(true)
}

// brake lets the kernel end this program when the runtime cannot: with its parent, and past a
// CPU time that no healthy way needs.
func brake(length time.Duration) {
	const parentDeathSignal = 1 // PR_SET_PDEATHSIG, linux/prctl.h
	syscall.RawSyscall(syscall.SYS_PRCTL, parentDeathSignal, uintptr(syscall.SIGKILL), 0)
	const cpuTime = 0 // RLIMIT_CPU, asm-generic/resource.h
	most := 16*uint64(length/time.Second) + 16
	syscall.Setrlimit(cpuTime, &syscall.Rlimit{Cur: most, Max: most})
}

func main() {
	names := make([]string, 0, len(ways))
	for name := range ways {
		names = append(names, name)
	}
	sort.Strings(names)
	fail := func(why string) {
		fmt.Fprintf(os.Stderr, "%s; usage: failures %s [KEY=NUMBER ...]\n", why, strings.Join(names, "|"))
		os.Exit(2)
	}
	if len(os.Args) < 2 {
		fail("no way to fail")
	}
	run, known := ways[os.Args[1]]
	if !known {
		fail("unknown way " + os.Args[1])
	}
	s := settings{}
	for _, word := range os.Args[2:] {
		key, text, _ := strings.Cut(word, "=")
		value, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			fail(word + " is not KEY=NUMBER")
		}
		s[key] = value
	}
	brake(s.length())
	run(s)
}
