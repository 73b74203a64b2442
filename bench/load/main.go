// Command load sends webhooks faster than anything measured here can take them, and is the destination that takes
// them faster than any worker can deliver.
//
//	load steady    -url http://127.0.0.1:8080/hook -c 64 -d 10s [-n COUNT] [-secret S] [-size 1024] [-header 'A: b']…
//	load burst     -url … [-c 2000] [-each 5]      fresh connections, all opened at once
//	load self-test [-c 64] [-d 3s]                 the generator against a responder that does nothing: its own limit
//	load sink      [-listen 127.0.0.1:0]           an HTTP destination: answers 200; GET /stats, POST /reset
//
// Results are JSON on stdout. Latencies are exact, in milliseconds, of answers 2xx; the first request of a fresh
// connection is measured from the start of connecting. Linux only (epoll).
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"time"
)

const usage = "usage: load steady|burst|self-test|sink [flags]; load COMMAND -h tells the flags"

func main() {
	if len(os.Args) < 2 {
		fail(2, usage)
	}
	commands := map[string]func([]string) error{"steady": steady, "burst": burst, "self-test": selfTest, "sink": runSink}
	command := commands[os.Args[1]]
	if command == nil {
		fail(2, usage)
	}
	if err := command(os.Args[2:]); err != nil {
		fail(1, fmt.Sprintf("load %s: %v", os.Args[1], err))
	}
}

func fail(code int, message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(code)
}

func steady(args []string) error {
	flags, target := newFlags("steady")
	connections := flags.Int("c", 64, "keep-alive connections")
	duration := flags.Duration("d", 0, "how long to begin requests; 0: until -n are answered")
	count := flags.Int("n", 0, "requests in all; 0: as many as fit")
	flags.Parse(args)
	if *duration == 0 && *count == 0 {
		return fmt.Errorf("give -d, -n or both")
	}
	run, err := target.plan()
	if err != nil {
		return err
	}
	run.connections, run.duration, run.count = *connections, *duration, *count
	return runAndPrint(run)
}

func burst(args []string) error {
	flags, target := newFlags("burst")
	connections := flags.Int("c", 2000, "fresh connections, all opened at once")
	each := flags.Int("each", 5, "requests on each connection")
	flags.Parse(args)
	run, err := target.plan()
	if err != nil {
		return err
	}
	run.connections, run.perConn = *connections, *each
	return runAndPrint(run)
}

func runAndPrint(run plan) error {
	made, err := drive(run)
	if err != nil {
		return err
	}
	return printJSON(made)
}

// selfTest drives a responder in this process, on a thread of its own; what the generator costs is told by its thread.
func selfTest(args []string) error {
	flags := flag.NewFlagSet("self-test", flag.ExitOnError)
	connections := flags.Int("c", 64, "keep-alive connections")
	duration := flags.Duration("d", 3*time.Second, "how long")
	flags.Parse(args)
	responder, bound, err := openSink(loopback, []byte("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"))
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	ended := make(chan time.Duration)
	go func() {
		cpu, _ := responder.serve(stop)
		ended <- cpu
	}()
	hook := webhook{host: bound.String(), path: "/hook", secret: "self-test", size: 1024}
	made, err := drive(plan{
		address: bound, webhook: hook, connections: *connections, duration: *duration, timeout: 10 * time.Second,
	})
	close(stop)
	cpu := <-ended
	if err != nil {
		return err
	}
	return printJSON(struct {
		report
		ResponderCPU float64 `json:"responder_cpu_us"`
	}{made, rounded(float64(cpu.Microseconds()) / float64(max(made.Answers, 1)))})
}

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

func runSink(args []string) error {
	flags := flag.NewFlagSet("sink", flag.ExitOnError)
	address := flags.String("listen", loopback.String(), "IPv4 address and port; port 0 takes a free one")
	flags.Parse(args)
	where, err := netip.ParseAddrPort(*address)
	if err != nil {
		return err
	}
	server, bound, err := openSink(where, []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	if err != nil {
		return err
	}
	if err := printJSON(map[string]string{"url": "http://" + bound.String() + "/"}); err != nil {
		return err
	}
	_, err = server.serve(nil)
	return err
}

// target is what the flags say about the requests.
type target struct {
	url, secret *string
	size        *int
	broken      *bool
	timeout     *time.Duration
	headers     headerFlags
}

type headerFlags []string

func (h *headerFlags) String() string         { return "" }
func (h *headerFlags) Set(value string) error { *h = append(*h, value); return nil }

func newFlags(name string) (*flag.FlagSet, *target) {
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	t := &target{
		url:     flags.String("url", "", "where to post: http://IPV4:PORT/PATH"),
		secret:  flags.String("secret", "", "GitHub webhook secret; empty: no signature"),
		size:    flags.Int("size", 1024, "bytes of the body"),
		broken:  flags.Bool("wrong-signature", false, "sign with another secret"),
		timeout: flags.Duration("timeout", 30*time.Second, "for one answer"),
	}
	flags.Var(&t.headers, "header", "another header, 'Name: value'; replaces one of the same name")
	return flags, t
}

func (t *target) plan() (plan, error) {
	where, err := url.Parse(*t.url)
	if err != nil {
		return plan{}, err
	}
	address, err := netip.ParseAddrPort(where.Host)
	if err != nil || where.Scheme != "http" || !address.Addr().Is4() {
		return plan{}, fmt.Errorf("-url %q: give http://IPV4:PORT/PATH", *t.url)
	}
	hook := webhook{
		host: where.Host, path: where.RequestURI(), secret: *t.secret, size: *t.size, headers: t.headers, broken: *t.broken,
	}
	return plan{address: address, webhook: hook, timeout: *t.timeout}, nil
}

func printJSON(value any) error {
	return json.NewEncoder(os.Stdout).Encode(value)
}
