package main

import (
	"math"
	"slices"
	"strconv"
	"time"
)

// tally collects what happened, exactly: one number for each answer.
type tally struct {
	latencies []uint32 // µs, of answers 2xx
	byStatus  map[int]int
	failures  map[string]int
}

func newTally() tally {
	return tally{latencies: make([]uint32, 0, 1<<20), byStatus: map[int]int{}, failures: map[string]int{}}
}

func (t *tally) answer(status int, after time.Duration) {
	t.byStatus[status]++
	if status/100 == 2 {
		t.latencies = append(t.latencies, uint32(min(after.Microseconds(), 1<<32-1)))
	}
}

func (t *tally) fail(why string, requests int) { t.failures[why] += requests }

// latency is of accepted webhooks only, in milliseconds, exact (nearest rank).
type latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// report is what a run prints.
type report struct {
	Connections  int            `json:"connections"`
	Seconds      float64        `json:"seconds"`
	Answers      int            `json:"answers"`
	Accepted     int            `json:"accepted"` // 2xx
	Failed       int            `json:"failed"`   // refused, reset, timed out, or not 2xx
	ByStatus     map[string]int `json:"by_status"`
	Failures     map[string]int `json:"failures"` // requests without an answer, by cause
	RPS          float64        `json:"rps"`      // accepted per second
	Latency      latency        `json:"latency_ms"`
	GeneratorCPU float64        `json:"generator_cpu_us"` // of the generator, per answer
}

func (t *tally) report(p plan, took, cpu time.Duration) report {
	made := report{
		Connections: p.connections,
		Seconds:     rounded(took.Seconds()),
		Accepted:    len(t.latencies),
		ByStatus:    map[string]int{},
		Failures:    t.failures,
		Latency:     summarize(t.latencies),
	}
	for status, n := range t.byStatus {
		made.ByStatus[strconv.Itoa(status)] = n
		made.Answers += n
	}
	made.Failed = made.Answers - made.Accepted
	for _, n := range t.failures {
		made.Failed += n
	}
	made.RPS = rounded(float64(made.Accepted) / max(took.Seconds(), 1e-9))
	made.GeneratorCPU = rounded(float64(cpu.Microseconds()) / float64(max(made.Answers, 1)))
	return made
}

// rounded keeps three decimals: more are noise.
func rounded(value float64) float64 { return math.Round(value*1000) / 1000 }

func summarize(micros []uint32) latency {
	if len(micros) == 0 {
		return latency{}
	}
	slices.Sort(micros)
	at := func(share float64) float64 {
		rank := int(share*float64(len(micros))+0.9999999) - 1
		return float64(micros[min(max(rank, 0), len(micros)-1)]) / 1000
	}
	return latency{P50: at(0.5), P90: at(0.9), P99: at(0.99), P999: at(0.999), Max: at(1)}
}
