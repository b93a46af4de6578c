// Command collect allocates without a pause beside a heap that the collector has to go through,
// or goes through that heap itself and allocates nothing.
//
//	collect LENGTH_MS HEAP_MIB ALLOCATE
//
// ALLOCATE is 1 or 0. It prints `gc N` and `user N`, the CPU time of garbage collection and of
// everything else in ns, by the runtime's own account, and `begin N` and `end N`, the times
// (CLOCK_MONOTONIC, ns) that nothing is set up or counted between.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

type node struct {
	next, other *node
	data        [6]uint64
}

var (
	live  []*node
	short *node
)

func number(i int) int {
	n, err := strconv.Atoi(os.Args[i])
	if err != nil {
		panic(err)
	}
	return n
}

func allocate() {
	for {
		var list *node
		for i := 0; i < 64; i++ {
			list = &node{next: list}
		}
		short = list
	}
}

// walk allocates nothing.
func walk() {
	var sum uint64
	for {
		for _, one := range live {
			sum += one.data[0]
		}
		live[0].data[1] = sum
	}
}

func monotonic() int64 {
	var now syscall.Timespec
	const clock = 1
	_, _, err := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&now)), 0)
	if err != 0 {
		panic(err)
	}
	return now.Nano()
}

func main() {
	for i := 0; i < number(2)<<20/64; i++ {
		one := &node{}
		if i > 0 {
			one.next, one.other = live[i-1], live[i/2]
		}
		live = append(live, one)
	}
	if number(3) == 1 {
		go allocate()
	} else {
		go walk()
	}
	samples := []metrics.Sample{
		{Name: "/cpu/classes/gc/total:cpu-seconds"},
		{Name: "/cpu/classes/user:cpu-seconds"},
	}
	// The runtime adds up at the end of a collection.
	read := func() (float64, float64) {
		runtime.GC()
		metrics.Read(samples)
		return samples[0].Value.Float64(), samples[1].Value.Float64()
	}
	gc, user := read()
	begin := monotonic()
	time.Sleep(time.Duration(number(1)) * time.Millisecond)
	end := monotonic()
	gc2, user2 := read()
	fmt.Printf("gc %.0f\nuser %.0f\nbegin %d\nend %d\n", (gc2-gc)*1e9, (user2-user)*1e9, begin, end)
}
