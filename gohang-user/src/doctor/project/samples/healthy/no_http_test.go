package sample

import "testing"

type server struct{ Addr string }

func (server) ListenAndServe(address string) {}

var http server

func TestOwn(t *testing.T) {
	go http.ListenAndServe(":18080")
}
