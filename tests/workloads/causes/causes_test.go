// Package causes has a test that hangs for the reason that CAUSE names.
package causes

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var (
	first, second sync.Mutex
	sink          uint64
	kept          *node
	garbage       []byte
	maps          [4]map[int]*node
)

// node has what a collector has to follow, and is 64 bytes long.
type node struct {
	next *node
	rest [7]uint64
}

// live is so many MiB of nodes.
func live(mib int) *node {
	var list *node
	for i := 0; i < mib<<14; i++ {
		list = &node{next: list}
	}
	return list
}

// crunch computes for so many rounds, without a call that the kernel sees.
func crunch(rounds int) {
	x := uint64(1)
	for r := 0; r < rounds; r++ {
		for i := 0; i < 1<<20; i++ {
			x = x*6364136223846793005 + 1442695040888963407
		}
	}
	sink = x
}

func spin() {
	for x := uint64(1); ; x++ {
		sink = x
	}
}

// twoSeconds is how many rounds a CPU takes some two seconds for.
const twoSeconds = 2000

type account struct {
	mu      sync.Mutex
	balance int
}

func (a *account) transfer(to *account, ready *sync.WaitGroup) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ready.Done()
	ready.Wait()
	to.mu.Lock()
	defer to.mu.Unlock()
	to.balance++
}

func listen(t *testing.T) net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// address is that of a server that accepts and never says a word.
func address() string { return os.Getenv("ADDRESS") }

func TestFine(t *testing.T) {}

func TestCause(t *testing.T) {
	switch cause := os.Getenv("CAUSE"); cause {
	case "":
	case "crunch":
		crunch(twoSeconds)
	case "crunch_many":
		var all sync.WaitGroup
		for i := 0; i < 8; i++ {
			all.Add(1)
			go func() {
				defer all.Done()
				crunch(twoSeconds / 8)
			}()
		}
		all.Wait()
	case "lock_twice":
		first.Lock()
		first.Lock()
	case "lock_order":
		a, b := &account{}, &account{}
		var ready, done sync.WaitGroup
		ready.Add(2)
		done.Add(2)
		go func() { defer done.Done(); a.transfer(b, &ready) }()
		go func() { defer done.Done(); b.transfer(a, &ready) }()
		done.Wait()
	case "channel":
		<-make(chan int)
	case "channel_full":
		values := make(chan int, 1)
		values <- 1
		values <- 2
	case "channel_not_closed":
		values := make(chan int)
		go func() { values <- 1 }()
		for value := range values {
			sink += uint64(value)
		}
	case "cond":
		cond := sync.NewCond(&first)
		first.Lock()
		cond.Wait()
	case "read_lock_twice":
		var lock sync.RWMutex
		lock.RLock()
		go lock.Lock()
		time.Sleep(100 * time.Millisecond)
		lock.RLock()
	case "spin":
		spin()
	case "deaf_spin":
		signal.Ignore(syscall.SIGTERM, syscall.SIGQUIT)
		spin()
	case "spin_on_flag":
		var ready atomic.Bool
		for !ready.Load() {
			sink++
		}
	case "spin_behind_lock":
		go func() {
			first.Lock()
			spin()
		}()
		time.Sleep(100 * time.Millisecond)
		first.Lock()
	case "livelock":
		var all sync.WaitGroup
		all.Add(2)
		turn := func(mine, other *sync.Mutex) {
			defer all.Done()
			for {
				mine.Lock()
				if other.TryLock() {
					other.Unlock()
				}
				mine.Unlock()
				runtime.Gosched()
			}
		}
		go turn(&first, &second)
		go turn(&second, &first)
		all.Wait()
	case "gc_waits":
		go spin()
		time.Sleep(100 * time.Millisecond)
		runtime.GC()
	case "memstats_wait":
		go spin()
		time.Sleep(100 * time.Millisecond)
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
	case "gc_in_background":
		done := make(chan bool)
		go spin()
		go func() {
			time.Sleep(100 * time.Millisecond)
			runtime.GC()
			close(done)
		}()
		<-done
	case "profile_waits":
		go spin()
		time.Sleep(100 * time.Millisecond)
		_ = pprof.Lookup("goroutine").WriteTo(&bytes.Buffer{}, 2)
	case "collector":
		kept = live(48)
		for {
			garbage = make([]byte, 1<<10)
		}
	case "collector_of_maps":
		var all sync.WaitGroup
		for i := range maps {
			all.Add(1)
			go func(i int) {
				defer all.Done()
				maps[i] = map[int]*node{}
				for k := 0; ; k++ {
					maps[i][k%100_000] = &node{}
				}
			}(i)
		}
		all.Wait()
	case "dial":
		conn, err := net.Dial("tcp", address())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	case "datagram":
		conn, err := net.Dial("udp", address())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte("hello"))
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	case "get":
		if _, err := http.Get("http://" + address() + "/"); err != nil {
			t.Fatal(err)
		}
	case "handshake":
		if _, err := tls.Dial("tcp", address(), &tls.Config{InsecureSkipVerify: true}); err != nil {
			t.Fatal(err)
		}
	case "accept":
		if _, err := listen(t).Accept(); err != nil {
			t.Fatal(err)
		}
	case "accept_local":
		listener, err := net.Listen("unix", t.TempDir()+"/socket")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := listener.Accept(); err != nil {
			t.Fatal(err)
		}
	case "serve":
		var done sync.WaitGroup
		done.Add(1)
		listener := listen(t)
		go func() {
			defer done.Done()
			_ = http.Serve(listener, nil)
		}()
		done.Wait()
	case "port_taken":
		taken := listen(t)
		for {
			_, err := net.Listen("tcp", taken.Addr().String())
			fmt.Println("retrying:", err)
			time.Sleep(time.Hour)
		}
	case "pipe":
		command := exec.Command("sh", "-c", "sleep 1000 & echo started")
		var out bytes.Buffer
		command.Stdout = &out
		_ = command.Run()
	case "child_reads":
		command := exec.Command("cat")
		command.Stdin = os.Stdin
		_ = command.Run()
	case "input":
		bufio.NewScanner(os.Stdin).Scan()
	case "child_eats":
		words := bytes.Fields([]byte(os.Getenv("CHILD")))
		args := make([]string, len(words))
		for i, word := range words {
			args[i] = string(word)
		}
		_ = exec.Command(args[0], args[1:]...).Run()
		<-make(chan int)
	case "children":
		for {
			if err := exec.Command("sleep", "1000").Start(); err != nil {
				fmt.Println(err)
				break
			}
		}
		<-make(chan int)
	case "ticks":
		ticks, err := strconv.Atoi(os.Getenv("TICKS"))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < ticks; i++ {
			time.Sleep(20 * time.Second)
			t.Log("tick", i)
		}
	default:
		t.Fatalf("no cause is called %q", cause)
	}
}
