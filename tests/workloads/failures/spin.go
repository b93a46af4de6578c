package main

import (
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// spun keeps the loops' results.
var spun atomic.Uint64

// spin has neither a call nor a safe point of its own in its loop, which turns so many times
// (each about a nanosecond) at most.
func spin(turns uint64) {
	x := uint64(1)
	for i := uint64(0); i < turns && !ended.Load(); i++ {
		x = x*6364136223846793005 + 1442695040888963407
	}
	spun.Add(x & 1)
}

// turns is a number of turns of spin that takes longer than the way is to last.
func (s settings) turns() uint64 {
	return 4 * uint64(s.length())
}

// spinAll spins in goroutines=N, beside one that sleeps 1 ms at a time.
func spinAll(s settings) {
	for i := uint64(0); i < s.get("goroutines", 4); i++ {
		go spin(s.turns())
	}
	s.begin()
	s.last()
}

// stopTheWorld spins for turns=N at a time, and collects every pause_ms=N, which stops the
// world.
func stopTheWorld(s settings) {
	turns := s.get("turns", 200_000_000)
	go func() {
		for !ended.Load() {
			spin(turns)
			runtime.Gosched()
		}
	}()
	s.begin()
	pause := time.Duration(s.get("pause_ms", 20)) * time.Millisecond
	for end := time.Now().Add(s.length()); time.Now().Before(end); {
		runtime.GC()
		time.Sleep(pause)
	}
	ended.Store(true)
}

// ignore spins and, unless ignore=0, ignores SIGURG.
func ignore(s settings) {
	s.begin()
	if s.get("ignore", 1) != 0 {
		signal.Ignore(syscall.SIGURG)
	}
	go spin(s.turns())
	s.last()
}

// mask spins on a thread of its own that, unless mask=0, has SIGURG blocked.
func mask(s settings) {
	s.begin()
	go func() {
		runtime.LockOSThread()
		if s.get("mask", 1) != 0 {
			blockPreemption()
		}
		spin(s.turns())
	}()
	s.last()
}
