// A suite that mostly waits, as those do that talk to servers: each test asks a server of its
// own some times, with a pause as long as another machine would take to answer.
package waits

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

const (
	tests    = 24
	requests = 10
	answer   = 50 * time.Millisecond
)

func TestAnswers(t *testing.T) {
	for test := 0; test < tests; test++ {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(
				func(w http.ResponseWriter, _ *http.Request) {
					time.Sleep(answer)
					fmt.Fprintln(w, test)
				}))
			defer server.Close()
			for request := 0; request < requests; request++ {
				response, err := http.Get(server.URL)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				if want := fmt.Sprintln(test); err != nil || string(body) != want {
					t.Fatalf("%q, not %q (%v)", body, want, err)
				}
			}
		})
	}
}
