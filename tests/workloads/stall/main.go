// Command stall makes the Go runtime send preemption signals.
//
//	stall spin SECONDS   goroutines that never yield, beside one that sleeps 1 ms at a time
//	stall gc SECONDS     goroutines that allocate, so that the collector stops the world
//	stall short          both for about 50 ms
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
)

var (
	spun atomic.Uint64
	sink atomic.Pointer[node]
)

type node struct {
	next *node
	data [64]byte
}

// spin has no call and no safe point of its own in its inner loop.
func spin() {
	for {
		x := uint64(1)
		for i := 0; i < 1<<26; i++ {
			x = x*6364136223846793005 + 1442695040888963407
		}
		spun.Add(x & 1)
	}
}

// allocate keeps a list of some thousand nodes alive and throws it away again and again.
func allocate() {
	for {
		var list *node
		for i := 0; i < 5000; i++ {
			list = &node{next: list}
		}
		sink.Store(list)
	}
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: stall spin|gc SECONDS | stall short")
		os.Exit(2)
	}
	length := 50 * time.Millisecond
	if len(os.Args) > 2 {
		seconds, err := strconv.ParseFloat(os.Args[2], 64)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		length = time.Duration(seconds * float64(time.Second))
	}
	kind := os.Args[1]
	for i := 0; i < 4; i++ {
		if kind != "gc" {
			go spin()
		}
		if kind != "spin" {
			go allocate()
		}
	}
	fmt.Println("ready")
	end := time.Now().Add(length)
	var longest time.Duration
	for time.Now().Before(end) {
		before := time.Now()
		time.Sleep(time.Millisecond)
		if late := time.Since(before); late > longest {
			longest = late
		}
		if kind == "short" {
			runtime.GC()
		}
	}
	fmt.Println("longest", longest)
}
