// Command clear clears memory again and again, in assembly that cannot be preempted, beside a
// goroutine that wants to run every millisecond, or that stops the world.
//
//	clear LENGTH_MS MIB CLEARS STOP
//
// Each turn clears MIB megabytes CLEARS times without a call that could yield in between; STOP
// is 1 for stops of the world. It prints `turn N`, the length of each turn in ns, and `late N`,
// each time the other goroutine got to run, how much later than asked or how long the stop took.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
)

var ended atomic.Bool

//go:noinline
func turn(memory []byte, clears int) {
	for i := 0; i < clears; i++ {
		clear(memory)
	}
}

func number(i int) int {
	n, err := strconv.Atoi(os.Args[i])
	if err != nil {
		panic(err)
	}
	return n
}

func main() {
	stop := number(4) == 1
	runtime.GOMAXPROCS(1)
	if stop {
		runtime.GOMAXPROCS(2)
	}
	memory := make([]byte, number(2)<<20)
	clears := number(3)
	turn(memory, 1)
	turns := make([]time.Duration, 0, 1<<16)
	done := make(chan struct{})
	end := time.Now().Add(time.Duration(number(1)) * time.Millisecond)
	go func() {
		for time.Now().Before(end) {
			begin := time.Now()
			turn(memory, clears)
			turns = append(turns, time.Since(begin))
		}
		ended.Store(true)
		close(done)
	}()
	var late []time.Duration
	var stats runtime.MemStats
	for !ended.Load() {
		begin := time.Now()
		if stop {
			runtime.ReadMemStats(&stats)
			late = append(late, time.Since(begin))
		}
		begin = time.Now()
		time.Sleep(time.Millisecond)
		if !stop {
			late = append(late, time.Since(begin)-time.Millisecond)
		}
	}
	<-done
	for _, one := range turns {
		fmt.Println("turn", one.Nanoseconds())
	}
	for _, one := range late {
		fmt.Println("late", one.Nanoseconds())
	}
}
