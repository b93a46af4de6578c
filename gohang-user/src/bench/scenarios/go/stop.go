// Command stop stops the world again and again beside goroutines that spin.
//
//	stop LENGTH_MS PAUSE_US SPINNERS
//
// It begins after a second, once it is traced, and works for PAUSE_US from stop to stop: who
// sleeps among goroutines that spin is woken by one of them at the end of its slice only.
//
// It prints `stop N` with the length of each stop in ns, as the goroutine sees it that asks for
// it, and where the runtime tells it `bucket FROM_NS TO_NS COUNT` for each bucket of its own
// histogram of how long it took to stop everybody.
package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"time"
)

const histogram = "/sched/pauses/stopping/other:seconds"

var sum uint64

//go:noinline
func spin() {
	x := uint64(1)
	for {
		for i := 0; i < 1<<30; i++ {
			x = x*6364136223846793005 + 1442695040888963407
		}
		sum += x & 1
	}
}

func number(i int) int {
	n, err := strconv.Atoi(os.Args[i])
	if err != nil {
		panic(err)
	}
	return n
}

func stopping() *metrics.Float64Histogram {
	sample := []metrics.Sample{{Name: histogram}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return nil
	}
	return sample[0].Value.Float64Histogram()
}

func bound(seconds float64) int64 {
	if math.IsInf(seconds, 0) {
		return -1
	}
	return int64(math.Round(seconds * 1e9))
}

func main() {
	time.Sleep(time.Second)
	// No other stops than those that are asked for.
	debug.SetGCPercent(-1)
	length := time.Duration(number(1)) * time.Millisecond
	pause := time.Duration(number(2)) * time.Microsecond
	for i := 0; i < number(3); i++ {
		go spin()
	}
	took := make([]time.Duration, 0, 1<<16)
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	before := stopping()
	for end := time.Now().Add(length); time.Now().Before(end); {
		begin := time.Now()
		runtime.ReadMemStats(&stats)
		took = append(took, time.Since(begin))
		for work := time.Now(); time.Since(work) < pause; {
		}
	}
	after := stopping()
	for _, one := range took {
		fmt.Println("stop", one.Nanoseconds())
	}
	if before == nil || after == nil {
		return
	}
	for i, count := range after.Counts {
		if grown := count - before.Counts[i]; grown > 0 {
			fmt.Println("bucket", bound(after.Buckets[i]), bound(after.Buckets[i+1]), grown)
		}
	}
}
