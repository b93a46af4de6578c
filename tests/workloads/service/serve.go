package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sort"
	"sync"
	"time"
)

// item is what a request is answered with a list of.
type item struct {
	ID    int      `json:"id"`
	Name  string   `json:"name"`
	Tags  []string `json:"tags"`
	Price float64  `json:"price"`
}

// answer makes a list of 20 items anew, so that every request allocates.
func answer(w http.ResponseWriter, r *http.Request) {
	items := make([]item, 20)
	for i := range items {
		items[i] = item{i, fmt.Sprint("item ", i), []string{"a", "b", r.URL.Path}, float64(i) * 1.25}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(items)
}

// serve answers clients of its own, each of which asks again as soon as it is answered. The
// figures are requests in all, requests a second of CPU time, and quantiles of their times in
// nanoseconds.
func serve(s settings) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	server := &http.Server{Handler: http.HandlerFunc(answer)}
	go server.Serve(listener)
	url := "http://" + listener.Addr().String() + "/list"
	clients := s.get("clients", 8)
	transport := &http.Transport{MaxIdleConnsPerHost: clients, MaxConnsPerHost: clients}
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	ask := func() time.Duration {
		begun := time.Now()
		response, err := client.Get(url)
		must(err)
		_, err = io.Copy(io.Discard, response.Body)
		must(err)
		response.Body.Close()
		return time.Since(begun)
	}
	// Connections and the heap come to their size first.
	for i := 0; i < 500; i++ {
		ask()
	}
	s.begin()
	length := time.Duration(s.get("seconds", 5)) * time.Second
	begun, used := time.Now(), cpu()
	all := make([][]time.Duration, clients)
	var group sync.WaitGroup
	for i := range all {
		i := i
		group.Add(1)
		go func() {
			defer group.Done()
			for time.Since(begun) < length {
				all[i] = append(all[i], ask())
			}
		}()
	}
	group.Wait()
	elapsed, used := time.Since(begun), cpu()-used
	var times []time.Duration
	for _, some := range all {
		times = append(times, some...)
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	at := func(permille int) int64 { return int64(times[(len(times)-1)*permille/1000]) }
	fmt.Printf("served requests=%d elapsed_ns=%d cpu_ns=%d p50_ns=%d p99_ns=%d max_ns=%d\n",
		len(times), int64(elapsed), int64(used), at(500), at(990), at(1000))
}
