// Package results has a test for each way to end, and one that does not with HANG.
package results

import (
	"fmt"
	"os"
	"testing"
)

func TestPasses(t *testing.T) { t.Log("of no interest") }

func TestFails(t *testing.T) {
	fmt.Print("a ]]> <b> &amp; \x02red\x00\xff\n")
	t.Run("part", func(t *testing.T) { t.Error("why") })
}

func TestSkips(t *testing.T) { t.Skip(`needs a "root"`) }

func TestHangs(t *testing.T) {
	if os.Getenv("HANG") == "" {
		return
	}
	fmt.Println("so far")
	<-make(chan int)
}
