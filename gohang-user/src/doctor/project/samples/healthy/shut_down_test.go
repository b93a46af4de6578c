package sample

import (
	"context"
	"net/http"
	"testing"
)

func TestShutdown(t *testing.T) {
	server := &http.Server{Addr: ":18080"}
	go server.ListenAndServe()
	defer server.Shutdown(context.Background())
}

func TestClose(t *testing.T) {
	closed := http.Server{Addr: ":18081"}
	go func() {
		if err := closed.ListenAndServe(); err != http.ErrServerClosed {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { closed.Close() })
}

func stop(s *http.Server) { s.Close() }

func TestHandedOn(t *testing.T) {
	handed := &http.Server{Addr: ":18082"}
	go handed.ListenAndServe()
	defer stop(handed)
}

func start() *http.Server {
	returned := &http.Server{Addr: ":18083"}
	go returned.ListenAndServe()
	return returned
}

type service struct{ inner *http.Server }

func (s *service) run() {
	go s.inner.ListenAndServe()
}
