package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The runtime's own histograms of how long it stopped the world, in seconds: until every
// goroutine had stopped, and until they went on, for collections and for other reasons (Go 1.22
// and later), and the one of Go 1.21.
var histograms = []string{
	"/sched/pauses/stopping/gc:seconds",
	"/sched/pauses/stopping/other:seconds",
	"/sched/pauses/total/gc:seconds",
	"/sched/pauses/total/other:seconds",
	"/gc/pauses:seconds",
}

// read returns the counts so far of those histograms that this runtime has.
func read() map[string]*metrics.Float64Histogram {
	samples := make([]metrics.Sample, len(histograms))
	for i, name := range histograms {
		samples[i].Name = name
	}
	metrics.Read(samples)
	found := map[string]*metrics.Float64Histogram{}
	for _, sample := range samples {
		if sample.Value.Kind() == metrics.KindFloat64Histogram {
			found[sample.Name] = sample.Value.Float64Histogram()
		}
	}
	return found
}

// countStops stops the world count=N times for a collection and as often to read memory
// statistics, pause_ms=N apart, beside goroutines=N that spin and as many that allocate. At its
// end it prints for every bucket of the runtime's histograms that grew
//
//	bucket NAME FROM TO COUNT
//
// with its bounds in seconds, and then `end`.
func countStops(s settings) {
	for i := uint64(0); i < s.get("goroutines", 2); i++ {
		go spin(s.turns())
		go allocate()
	}
	// Only the collections that are asked for.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(1 << 30)
	s.begin()
	before := read()
	pause := time.Duration(s.get("pause_ms", 5)) * time.Millisecond
	end := time.Now().Add(s.length())
	var stats runtime.MemStats
	for i := uint64(0); i < s.get("count", 100) && time.Now().Before(end); i++ {
		runtime.GC()
		time.Sleep(pause)
		runtime.ReadMemStats(&stats)
		time.Sleep(pause)
	}
	after := read()
	ended.Store(true)
	for _, name := range histograms {
		now := after[name]
		if now == nil {
			continue
		}
		for i, count := range now.Counts {
			if grown := count - before[name].Counts[i]; grown > 0 {
				fmt.Printf("bucket %s %.9g %.9g %d\n", name, now.Buckets[i], now.Buckets[i+1], grown)
			}
		}
	}
	fmt.Println("end")
}
