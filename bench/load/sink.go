package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"syscall"
	"time"
)

// sink is an HTTP destination that answers everything at once and counts it: GET /stats tells, POST /reset starts anew.
type sink struct {
	poll     *poll
	listener int
	peers    map[int32]*peer
	respond  []byte
	requests int
	bytes    int
	ids      map[string]struct{} // by X-Forebay-Id, or Idempotency-Key where that is missing
	first    time.Time
	last     time.Time
}

type peer struct {
	fd       int
	received []byte
	out      []byte // what the kernel did not take yet
}

// openSink binds the address and tells which it is.
func openSink(address netip.AddrPort, respond []byte) (*sink, netip.AddrPort, error) {
	listener, bound, err := listen(address)
	if err != nil {
		return nil, bound, err
	}
	watch, err := newPoll()
	if err != nil {
		return nil, bound, err
	}
	s := &sink{poll: watch, listener: listener, peers: map[int32]*peer{}, respond: respond, ids: map[string]struct{}{}}
	return s, bound, watch.add(listener)
}

// serve answers until stop is closed or the poll fails. The calling thread belongs to it.
func (s *sink) serve(stop <-chan struct{}) (cpu time.Duration, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := threadCPU()
	for {
		select {
		case <-stop:
			return threadCPU() - began, nil
		default:
		}
		events, err := s.poll.wait(100 * time.Millisecond)
		if err != nil {
			return threadCPU() - began, err
		}
		for i := range events {
			s.step(events[i])
		}
	}
}

func (s *sink) step(event syscall.EpollEvent) {
	fd := event.Fd
	if int(fd) == s.listener {
		s.accept()
		return
	}
	p := s.peers[fd]
	if p == nil {
		return
	}
	if err := s.exchange(p, gone(event)); err != nil {
		delete(s.peers, fd)
		syscall.Close(p.fd)
	}
}

func (s *sink) accept() {
	for {
		fd, _, err := syscall.Accept4(s.listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		if s.poll.add(fd) == nil {
			s.peers[int32(fd)] = &peer{fd: fd, received: make([]byte, 0, 4096)}
		}
	}
}

// exchange reads, answers every complete request and writes; an error says that the connection has ended.
func (s *sink) exchange(p *peer, gone bool) error {
	for more := true; more; {
		var err error
		if p.received, more, err = fill(p.fd, p.received); err != nil {
			return err
		}
		if err := s.answer(p); err != nil {
			return err
		}
		if err := p.flush(); err != nil {
			return err
		}
		more = more || gone
	}
	return nil
}

func (s *sink) answer(p *peer) error {
	rest := p.received
	for {
		found, err := parseHead(rest)
		if err != nil {
			return err
		}
		whole := found.size + found.length
		if found.size == 0 || len(rest) < whole {
			break
		}
		p.out = append(p.out, s.handle(rest[:found.size], found.length)...)
		rest = rest[whole:]
	}
	p.received = p.received[:copy(p.received, rest)]
	return nil
}

func (p *peer) flush() error {
	for len(p.out) > 0 {
		n, err := syscall.Write(p.fd, p.out)
		if errors.Is(err, syscall.EAGAIN) {
			return nil
		}
		if err != nil {
			return err
		}
		p.out = p.out[:copy(p.out, p.out[n:])]
	}
	return nil
}

func (s *sink) handle(lines []byte, length int) []byte {
	switch {
	case bytes.HasPrefix(lines, []byte("GET /stats ")):
		return s.stats()
	case bytes.HasPrefix(lines, []byte("POST /reset ")):
		s.requests, s.bytes, s.ids, s.first = 0, 0, map[string]struct{}{}, time.Time{}
		return s.stats()
	}
	s.last = time.Now()
	if s.requests == 0 {
		s.first = s.last
	}
	s.requests++
	s.bytes += length
	id := field(lines, "x-forebay-id")
	if id == nil {
		id = field(lines, "idempotency-key")
	}
	if id != nil {
		s.ids[string(id)] = struct{}{}
	}
	return s.respond
}

func (s *sink) stats() []byte {
	text, _ := json.Marshal(map[string]any{
		"requests":    s.requests,
		"unique_ids":  len(s.ids),
		"body_bytes":  s.bytes,
		"connections": len(s.peers),
		"seconds":     s.last.Sub(s.first).Seconds(), // from the first to the last request
	})
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
}
