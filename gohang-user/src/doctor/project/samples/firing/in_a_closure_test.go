package sample

import (
	"log"
	nethttp "net/http"
	"testing"
)

const address = "127.0.0.1:18081"

func TestMain(m *testing.M) {
	handler := nethttp.NewServeMux()
	go func() {
		// A comment: go nethttp.ListenAndServe(":1", nil)
		log.Println("serving at http://:2")
		log.Fatal(nethttp.ListenAndServeTLS(address, "cert.pem", "key.pem", handler)) // want "127.0.0.1:18081"
	}()
	m.Run()
}
