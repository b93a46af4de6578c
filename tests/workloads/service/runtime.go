package main

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// collect has goroutines parked, whose stacks every collection scans.
func collect(s settings) {
	parked := s.get("parked", 100_000)
	var started sync.WaitGroup
	hold := make(chan struct{})
	started.Add(parked)
	for i := 0; i < parked; i++ {
		go func() {
			started.Done()
			<-hold
		}()
	}
	started.Wait()
	// The first one is the slowest.
	runtime.GC()
	s.begin()
	begun, used := time.Now(), cpu()
	count := s.get("count", 10)
	for i := 0; i < count; i++ {
		runtime.GC()
	}
	fmt.Printf("collected count=%d elapsed_ns=%d cpu_ns=%d\n", count, int64(time.Since(begun)), int64(cpu()-used))
	close(hold)
}

// turns counts how often goroutines give the processor to the next one within length.
func turns(goroutines int, length time.Duration) uint64 {
	var ended atomic.Bool
	counts := make([]uint64, goroutines)
	var group sync.WaitGroup
	for i := range counts {
		i := i
		group.Add(1)
		go func() {
			defer group.Done()
			own := uint64(0)
			for !ended.Load() {
				runtime.Gosched()
				own++
			}
			counts[i] = own
		}()
	}
	time.Sleep(length)
	ended.Store(true)
	group.Wait()
	total := uint64(0)
	for _, own := range counts {
		total += own
	}
	return total
}

// yield gives the processor to the next goroutine all the time.
func yield(s settings) {
	goroutines := s.get("goroutines", 8)
	length := time.Duration(s.get("milliseconds", 2000)) * time.Millisecond
	s.begin()
	begun, used := time.Now(), cpu()
	total := turns(goroutines, length)
	fmt.Printf("yielded count=%d elapsed_ns=%d cpu_ns=%d\n", total, int64(time.Since(begun)), int64(cpu()-used))
}
