package sample

import (
	"net/http"
	"testing"

	"example.org/errgroup"
)

func serve() {
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}),
		Addr:    ":18082",
	}
	server.ListenAndServe() // want ":18082"
}

func TestServer(t *testing.T) {
	go serve()
	var group errgroup.Group
	group.Go(func() error {
		return (&http.Server{Addr: "localhost:18083"}).ListenAndServe() // want "localhost:18083"
	})
}

func TestAssigned(t *testing.T) {
	other := http.Server{}
	other.Addr = ":http"
	go other.ListenAndServe() // want ":http"
}
