package sample

import (
	"net"
	"net/http"
	"os"
	"testing"
)

func TestFreePort(t *testing.T) {
	go http.ListenAndServe(":0", nil)
	go http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil)
	go http.ListenAndServe(os.Getenv("ADDRESS"), nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	go http.ListenAndServe(address, nil)
	varying := ":18080"
	if os.Getenv("OTHER") != "" {
		varying = ":18081"
	}
	go http.ListenAndServe(varying, nil)
}
