//go:build go1.25

package serve

import (
	"net/http"
	"runtime/trace"
)

// Also what it did last.
func init() {
	recorder := trace.NewFlightRecorder(trace.FlightRecorderConfig{})
	if err := recorder.Start(); err != nil {
		panic(err)
	}
	http.HandleFunc("/debug/flight", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = recorder.WriteTo(w)
	})
}
