// Command starve is a piece of work that takes CPU time and says nothing until it is done, or one
// that never is.
//
//	starve work CPU_MS
//	starve stuck
package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

var sum uint64

//go:noinline
func turn(turns int) {
	x := sum
	for i := 0; i < turns; i++ {
		x = x*6364136223846793005 + 1442695040888963407
	}
	sum = x
}

func main() {
	if os.Args[1] == "stuck" {
		var one, other sync.Mutex
		var ready, done sync.WaitGroup
		ready.Add(2)
		done.Add(2)
		both := func(first, second *sync.Mutex) {
			defer done.Done()
			first.Lock()
			ready.Done()
			ready.Wait()
			second.Lock()
		}
		go both(&one, &other)
		go both(&other, &one)
		// Another goroutine that can always run again: the runtime does not see it by itself.
		go func() {
			for {
				time.Sleep(time.Second)
			}
		}()
		done.Wait()
		return
	}
	milliseconds, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	// A CPU does about so many turns a millisecond; how many exactly does not matter.
	for i := 0; i < milliseconds; i++ {
		turn(1_000_000)
	}
	fmt.Println("done")
}
