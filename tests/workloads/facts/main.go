// Command facts prints its GOMAXPROCS at the start and for each byte of input, and ends with
// its input.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	buffer := make([]byte, 1)
	for {
		fmt.Printf("procs %d\n", runtime.GOMAXPROCS(0))
		if n, err := os.Stdin.Read(buffer); n == 0 || err != nil {
			return
		}
	}
}
