package main

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func planFor(server *httptest.Server, count, connections int) plan {
	address := netip.MustParseAddrPort(server.Listener.Addr().String())
	hook := webhook{host: address.String(), path: "/hook", secret: "s", size: 1024}
	return plan{address: address, webhook: hook, count: count, connections: connections, timeout: 5 * time.Second}
}

func driven(t *testing.T, p plan) report {
	t.Helper()
	made, err := drive(p)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestEveryRequestIsCountedByItsStatus(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1)%4 == 0 {
			w.WriteHeader(503)
			return
		}
		w.WriteHeader(202)
	}))
	defer server.Close()
	made := driven(t, planFor(server, 200, 7))
	if made.ByStatus["202"] != 150 || made.ByStatus["503"] != 50 || made.Failed != 50 || made.Accepted != 150 {
		t.Errorf("counted %+v", made)
	}
}

func TestTheServerSeesWellFormedSignedRequestsWithIdsOfTheirOwn(t *testing.T) {
	ids := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		body.ReadFrom(r.Body)
		if body.Len() != 1024 || r.Header.Get("X-Hub-Signature-256") != sign256("s", body.Bytes()) {
			w.WriteHeader(401)
		}
		ids <- r.Header.Get("X-GitHub-Delivery")
	}))
	defer server.Close()
	made := driven(t, planFor(server, 100, 3))
	close(ids)
	unique := map[string]bool{}
	for id := range ids {
		unique[id] = true
	}
	if made.Accepted != 100 || len(unique) != 100 {
		t.Errorf("%d accepted, %d ids", made.Accepted, len(unique))
	}
}

func TestAConnectionThatTheServerClosesAfterItsAnswerIsNoFailure(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
	}))
	defer server.Close()
	if made := driven(t, planFor(server, 50, 4)); made.Accepted != 50 || made.Failed != 0 {
		t.Errorf("counted %+v", made)
	}
}

func TestAResetInsteadOfAnAnswerIsAFailure(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		link, _, _ := w.(http.Hijacker).Hijack()
		link.(*net.TCPConn).SetLinger(0)
		link.Close()
	}))
	defer server.Close()
	if made := driven(t, planFor(server, 20, 2)); made.Failed != 20 || made.Answers != 0 {
		t.Errorf("counted %+v", made)
	}
}

func TestAnAnswerThatNeverComesIsAFailure(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	p := planFor(server, 2, 2)
	p.timeout = 100 * time.Millisecond
	if made := driven(t, p); made.Failures["timeout"] != 2 {
		t.Errorf("counted %+v", made)
	}
}

func TestABurstCountsEveryRequestOfAConnectionThatFailed(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	p := planFor(server, 0, 10)
	p.perConn = 5
	server.Close()
	if made := driven(t, p); made.Failed != 50 {
		t.Errorf("counted %+v", made)
	}
}

func TestABurstSendsSoManyRequestsOnEachConnection(t *testing.T) {
	var peers atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			peers.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	p := planFor(server, 0, 30)
	p.perConn = 5
	if made := driven(t, p); made.Accepted != 150 || peers.Load() != 30 {
		t.Errorf("%d connections, counted %+v", peers.Load(), made)
	}
}

func TestPercentilesAreTheNearestRank(t *testing.T) {
	micros := make([]uint32, 1000)
	for i := range micros {
		micros[len(micros)-1-i] = uint32(i+1) * 1000
	}
	want := latency{P50: 500, P90: 900, P99: 990, P999: 999, Max: 1000}
	if got := summarize(micros); got != want {
		t.Errorf("got %+v", got)
	}
}

func TestTheSinkAnswersPipelinedAndSplitRequests(t *testing.T) {
	server, bound, err := openSink(loopback, []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	defer close(stop)
	go server.serve(stop)
	link, err := net.Dial("tcp", bound.String())
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	one := "POST / HTTP/1.1\r\nHost: x\r\nX-Forebay-Id: a\r\nContent-Length: 3\r\n\r\nabc"
	two := strings.Replace(one, ": a", ": b", 1)
	for _, part := range []string{one + two[:40], two[40:], "GET /stats HTTP/1.1\r\nHost: x\r\n\r\n"} {
		link.Write([]byte(part))
		time.Sleep(20 * time.Millisecond) // so that the parts arrive apart
	}
	link.SetReadDeadline(time.Now().Add(5 * time.Second))
	var seen []byte
	for buffer := make([]byte, 4096); !bytes.Contains(seen, []byte("unique_ids")); {
		n, err := link.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, buffer[:n]...)
	}
	if !bytes.Contains(seen, []byte(`"requests":2`)) || !bytes.Contains(seen, []byte(`"unique_ids":2`)) {
		t.Errorf("%s", seen)
	}
}

func TestHeadersAreFoundWhateverTheirCase(t *testing.T) {
	lines := []byte("HTTP/1.1 200 OK\r\nX-Content-Length: 9\r\ncontent-LENGTH:  12 \r\n\r\n")
	if found, err := parseHead(lines); err != nil || found.length != 12 || found.size != len(lines) {
		t.Errorf("%+v, %v", found, err)
	}
}
