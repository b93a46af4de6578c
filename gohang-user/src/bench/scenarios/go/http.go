// Command http is a service, or the load on it.
//
//	http serve
//
// answers requests with a list of items and prints `port N` when it does.
//
//	http load PORT CONNECTIONS LENGTH_MS
//
// asks again on each of so many connections as soon as it is answered, and prints `requests N`,
// `elapsed N`, and `p50 N`, `p99 N`, `p999 N` and `max N` of the times of requests, all in ns.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"
)

type item struct {
	ID   int      `json:"id"`
	Name string   `json:"name"`
	Tags []string `json:"tags"`
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func number(i int) int {
	n, err := strconv.Atoi(os.Args[i])
	must(err)
	return n
}

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	fmt.Println("port", listener.Addr().(*net.TCPAddr).Port)
	must(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		items := make([]item, 20)
		for i := range items {
			items[i] = item{i, fmt.Sprint("item ", i), []string{"a", "b", r.URL.Path}}
		}
		must(json.NewEncoder(w).Encode(items))
	})))
}

func main() {
	if os.Args[1] == "serve" {
		serve()
		return
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/list", number(2))
	clients := number(3)
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
	ask()
	begun := time.Now()
	end := begun.Add(time.Duration(number(4)) * time.Millisecond)
	all := make([][]time.Duration, clients)
	var group sync.WaitGroup
	for i := range all {
		i := i
		group.Add(1)
		go func() {
			defer group.Done()
			for time.Now().Before(end) {
				all[i] = append(all[i], ask())
			}
		}()
	}
	group.Wait()
	elapsed := time.Since(begun)
	var times []time.Duration
	for _, some := range all {
		times = append(times, some...)
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	at := func(permille int) int64 { return int64(times[(len(times)-1)*permille/1000]) }
	fmt.Println("requests", len(times))
	fmt.Println("elapsed", elapsed.Nanoseconds())
	fmt.Println("p50", at(500))
	fmt.Println("p99", at(990))
	fmt.Println("p999", at(999))
	fmt.Println("max", at(1000))
}
