// Command stall makes the Go runtime send preemption signals.
//
//	stall spin SECONDS   goroutines that never yield, beside one that sleeps 1 ms at a time
//	stall gc SECONDS     goroutines that allocate, so that the collector stops the world
//	stall gosched SECONDS  one that yields without an end; prints its turns every half second
//	stall memstats SECONDS  one that stops the world without an end; prints its turns too
//	stall sleep SECONDS  nothing
//	stall short          both for about 50 ms
package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
)

var (
	spun  atomic.Uint64
	turns atomic.Uint64
	sink  atomic.Pointer[node]
)

type node struct {
	next *node
	data [64]byte
}

// id returns the number of the goroutine that calls it, from the text of its stack.
func id() string {
	var text [64]byte
	fields := bytes.Fields(text[:runtime.Stack(text[:], false)])
	return string(fields[1])
}

// yield does nothing but give way.
func yield() {
	for {
		runtime.Gosched()
		turns.Add(1)
	}
}

// stop does nothing but stop the world, as its statistics are read.
func stop() {
	var stats runtime.MemStats
	for {
		runtime.ReadMemStats(&stats)
		turns.Add(1)
	}
}

// printTurns tells how often that was done, twice a second.
func printTurns(length time.Duration) {
	for end := time.Now().Add(length); time.Now().Before(end); {
		before := turns.Load()
		time.Sleep(500 * time.Millisecond)
		fmt.Println("turns", turns.Load()-before)
	}
}

// spin has no call and no safe point of its own in its inner loop.
//
//go:noinline
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
		fmt.Fprintln(os.Stderr, "usage: stall spin|gc|gosched|memstats|sleep SECONDS | stall short")
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
	if kind == "sleep" {
		fmt.Println("ready")
		time.Sleep(length)
		return
	}
	if kind == "gosched" || kind == "memstats" {
		if kind == "gosched" {
			go yield()
		} else {
			go stop()
		}
		fmt.Println("ready")
		printTurns(length)
		return
	}
	// Without preemption nothing else runs once as many spin as there are processors.
	begin := make(chan struct{})
	for i := 0; i < 4; i++ {
		if kind != "gc" {
			ids := make(chan string)
			go func() {
				ids <- id()
				<-begin
				spin()
			}()
			fmt.Println("spinner", <-ids)
		}
		if kind != "spin" {
			go allocate()
		}
	}
	fmt.Println("ready")
	close(begin)
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
