// Command foreign lets C code get in the way of preemption.
//
//	foreign spin [seconds=N] [threads=N]     C code spins on so many threads, beside a goroutine
//	foreign handler [seconds=N] [replace=N]  unless replace=0, C code replaces the handler
//
// With wait=1 it begins at the first byte of standard input. It prints `ready` before.
package main

/*
#define _GNU_SOURCE
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

// Spins for so many seconds.
static unsigned long spin(double seconds) {
	unsigned long x = 1;
	for (double end = now() + seconds; now() < end;)
		for (int i = 0; i < 1000000; i++)
			x = x * 6364136223846793005ul + 1442695040888963407ul;
	return x;
}

static void nothing(int sig) { (void)sig; }

// Puts a handler in the place of Go's, and does not call that.
static int replace(void) {
	struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_ONSTACK | SA_RESTART};
	sigfillset(&action.sa_mask);
	return sigaction(SIGURG, &action, 0);
}

// Lets the kernel end this program: with its parent, and past so much CPU time.
static void brake(unsigned seconds) {
	struct rlimit limit = {seconds, seconds};
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_CPU, &limit);
}
*/
import "C"

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

var (
	ended atomic.Bool
	spun  atomic.Uint64
)

// spin has neither a call nor a safe point of its own in its loop.
func spin(turns uint64) {
	x := uint64(1)
	for i := uint64(0); i < turns && !ended.Load(); i++ {
		x = x*6364136223846793005 + 1442695040888963407
	}
	spun.Add(x & 1)
}

func main() {
	if len(os.Args) < 2 || os.Args[1] != "spin" && os.Args[1] != "handler" {
		fmt.Fprintln(os.Stderr, "usage: foreign spin|handler [KEY=NUMBER ...]")
		os.Exit(2)
	}
	s := map[string]uint64{"seconds": 10, "threads": 1, "replace": 1, "wait": 0}
	for _, word := range os.Args[2:] {
		key, text, _ := strings.Cut(word, "=")
		value, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			fmt.Fprintln(os.Stderr, word, "is not KEY=NUMBER")
			os.Exit(2)
		}
		s[key] = value
	}
	C.brake(C.uint(16*s["seconds"] + 16))
	length := time.Duration(s["seconds"]) * time.Second
	// The first call of C by a goroutine is slow.
	C.spin(0)
	fmt.Println("ready")
	if s["wait"] != 0 {
		bufio.NewReader(os.Stdin).ReadByte()
	}
	if os.Args[1] == "handler" {
		if s["replace"] != 0 && C.replace() != 0 {
			panic("sigaction failed")
		}
		go spin(4 * uint64(length))
	} else {
		// It is preempted all the time: each signal may meet busy CPUs.
		go spin(4 * uint64(length))
		for i := uint64(0); i < s["threads"]; i++ {
			go func() {
				for !ended.Load() {
					C.spin(0.2)
				}
			}()
		}
	}
	for end := time.Now().Add(length); time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	ended.Store(true)
}
