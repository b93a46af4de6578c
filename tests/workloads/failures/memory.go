package main

import (
	"runtime"
	"sync/atomic"
	"time"
)

// move copies a slice over another that overlaps it, so many times, each in one call of the
// runtime's assembly. Its own entry is where a goroutine yields of its own accord.
//
//go:noinline
func move(to, from []byte, times int) {
	for i := 0; i < times; i++ {
		copy(to, from)
	}
}

// copyLoop copies mib=N MiB again and again: in one piece, times=N before it may yield of its
// own accord, or, with piece_kib=N, in pieces with that between any two. Assembly is no safe
// point: a signal there does not make the goroutine yield.
func copyLoop(s settings) {
	data := make([]byte, s.get("mib", 512)<<20+64)
	for i := 0; i < len(data); i += 4096 {
		data[i] = byte(i)
	}
	piece, times := int(s.get("piece_kib", 0)<<10), 1
	if piece == 0 {
		piece, times = len(data), int(s.get("times", 8))
	}
	go func() {
		for !ended.Load() {
			for at := 0; at+64 < len(data) && !ended.Load(); at += piece {
				end := at + piece
				if end > len(data) {
					end = len(data)
				}
				// Forward, which is a copy as between two slices.
				move(data[at:end-64], data[at+64:end], times)
			}
		}
	}()
	s.begin()
	s.last()
}

type node struct {
	next *node
	data [64]byte
}

var sink atomic.Pointer[node]

// allocate keeps a list of some thousand nodes alive and throws it away again and again.
func allocate() {
	for !ended.Load() {
		var list *node
		for i := 0; i < 5000; i++ {
			list = &node{next: list}
		}
		sink.Store(list)
	}
}

// collect allocates in goroutines=N on procs=N processors (0: as many as the runtime chooses),
// so that the collector never rests.
func collect(s settings) {
	if procs := int(s.get("procs", 0)); procs > 0 {
		runtime.GOMAXPROCS(procs)
	}
	for i := uint64(0); i < s.get("goroutines", 4); i++ {
		go allocate()
	}
	s.begin()
	s.last()
	// Whoever is stopped now still has time to see it.
	time.Sleep(time.Millisecond)
}
