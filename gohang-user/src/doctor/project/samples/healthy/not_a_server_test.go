package sample

import (
	"net/http"
	"testing"
)

// go http.ListenAndServe(":18080", nil)

const source = `
	go http.ListenAndServe(":18080", nil)
`

/*
go func() { http.ListenAndServe(":18080", nil) }()
*/

type fake struct{}

func (fake) ListenAndServe(address string, handler http.Handler) error { return nil }

func TestFake(t *testing.T) {
	var other fake
	go other.ListenAndServe(":18080", nil)
	t.Log(source, "go http.ListenAndServe(\":18080\", nil)")
}

// Blocks whoever calls it, which is not a test.
func command() error {
	return http.ListenAndServe(":18080", nil)
}
