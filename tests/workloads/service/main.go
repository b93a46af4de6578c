// Command service does work whose speed is measured, in healthy ways only.
//
//	service serve [KEY=N ...]    HTTP requests by clients=N over the loopback device, for seconds=N
//	service collect [KEY=N ...]  count=N collections beside parked=N goroutines
//	service yield [KEY=N ...]    runtime.Gosched in goroutines=N, for milliseconds=N
//
// It prints `ready`, waits for the first byte of standard input if wait=1, and prints one line of
// names and figures at its end.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// settings are the values of a command line.
type settings map[string]int

// get returns a value, or what it is when it is not given.
func (s settings) get(key string, otherwise int) int {
	if value, given := s[key]; given {
		return value
	}
	return otherwise
}

// begin prints `ready` and waits, if it is to.
func (s settings) begin() {
	fmt.Println("ready")
	if s.get("wait", 0) != 0 {
		bufio.NewReader(os.Stdin).ReadByte()
	}
}

// must ends the program at an error.
func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	works := map[string]func(settings){"serve": serve, "collect": collect, "yield": yield}
	if len(os.Args) < 2 || works[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: service serve|collect|yield [KEY=NUMBER ...]")
		os.Exit(2)
	}
	s := settings{}
	for _, word := range os.Args[2:] {
		key, text, _ := strings.Cut(word, "=")
		value, err := strconv.Atoi(text)
		must(err)
		s[key] = value
	}
	// It ends with its parent, whatever happens.
	const parentDeathSignal = 1 // PR_SET_PDEATHSIG, linux/prctl.h
	syscall.RawSyscall(syscall.SYS_PRCTL, parentDeathSignal, uintptr(syscall.SIGKILL), 0)
	works[os.Args[1]](s)
}

// cpu is the CPU time of this process so far.
func cpu() time.Duration {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
