// Package hang has tests that hang, each in its own way, chosen by HANG.
package hang

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"
)

var (
	mu   sync.Mutex
	sink uint64
)

func lockTwice() {
	mu.Lock()
	mu.Lock()
}

func receive(ch chan int) int { return <-ch }

func spin() {
	for x := uint64(1); ; {
		for i := 0; i < 1<<26; i++ {
			x = x*6364136223846793005 + 1442695040888963407
		}
		sink = x
	}
}

func TestFine(t *testing.T) {}

func TestHang(t *testing.T) {
	switch os.Getenv("HANG") {
	case "mutex":
		lockTwice()
	case "channel":
		t.Run("inner", func(t *testing.T) { receive(make(chan int)) })
	case "stubborn":
		signal.Notify(make(chan os.Signal, 9), syscall.SIGQUIT, syscall.SIGTERM)
		receive(make(chan int))
	case "spin":
		spin()
	case "slow":
		for i := 0; i < 6; i++ {
			time.Sleep(time.Second)
			t.Log("still here")
		}
	}
}
