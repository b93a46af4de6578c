// Package serve has a test that hangs, prints nothing at SIGQUIT, and serves its goroutines.
package serve

import (
	"net"
	"net/http"
	_ "net/http/pprof"
	"os/signal"
	"syscall"
	"testing"
)

func receive(ch chan int) int { return <-ch }

func TestServe(t *testing.T) {
	signal.Ignore(syscall.SIGQUIT)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go http.Serve(listener, nil)
	receive(make(chan int))
}
