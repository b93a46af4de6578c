package sample

import (
	"net/http"
	"testing"
)

func TestGet(t *testing.T) {
	go http.ListenAndServe(":18080", nil) // want ":18080"
	if _, err := http.Get("http://localhost:18080/"); err != nil {
		t.Fatal(err)
	}
}
