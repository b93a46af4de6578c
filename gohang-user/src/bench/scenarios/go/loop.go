// Command loop runs a loop without a call on the only P there is, beside a goroutine that wants
// to run every millisecond.
//
//	loop LENGTH_MS LOOP_MS
//
// The loop ends by itself after about LOOP_MS, yields, and begins again until LENGTH_MS are over. It
// prints `late N`, in ns, each time the other goroutine got to run: how much later than asked.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
)

var sum atomic.Uint64

//go:noinline
func spin(turns int) {
	x := uint64(1)
	for i := 0; i < turns; i++ {
		x = x*6364136223846793005 + 1442695040888963407
	}
	sum.Add(x & 1)
}

func number(i int) int {
	n, err := strconv.Atoi(os.Args[i])
	if err != nil {
		panic(err)
	}
	return n
}

func main() {
	runtime.GOMAXPROCS(1)
	const some = 1 << 25
	begin := time.Now()
	spin(some)
	each := time.Since(begin).Seconds() / some
	turns := int(float64(number(2)) / 1e3 / each)
	length := time.Duration(number(1)) * time.Millisecond
	end := time.Now().Add(length)
	go func() {
		for {
			spin(turns)
			runtime.Gosched()
		}
	}()
	var late []time.Duration
	for time.Now().Before(end) {
		begin := time.Now()
		time.Sleep(time.Millisecond)
		late = append(late, time.Since(begin)-time.Millisecond)
	}
	for _, one := range late {
		fmt.Println("late", one.Nanoseconds())
	}
}
