package main

import (
	"errors"
	"net/netip"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// plan says what a run does.
type plan struct {
	address     netip.AddrPort
	webhook     webhook
	connections int
	duration    time.Duration // 0: until everything of count is answered
	count       int           // requests in all; 0: as many as fit the duration
	perConn     int           // requests per connection, which is then closed; 0: no limit
	timeout     time.Duration // for one answer, connecting included; then the connection counts as failed
}

// client is one connection; it always has one request on its way.
type client struct {
	fd        int
	connected bool
	request   []byte // its own copy, because each request gets its own delivery id
	sent      int
	received  []byte
	began     time.Time // when the request began; of a connection's first one: when connecting began
	done      int       // answers so far
}

// driver runs a plan in one thread.
type driver struct {
	plan     plan
	poll     *poll
	clients  map[int32]*client
	idMark   int
	template []byte
	started  int // requests begun
	open     bool
	tally    tally
}

// drive runs the plan and tells what came of it. The calling thread belongs to it.
func drive(p plan) (report, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	watch, err := newPoll()
	if err != nil {
		return report{}, err
	}
	defer watch.close()
	d := &driver{plan: p, poll: watch, clients: make(map[int32]*client, p.connections), open: true, tally: newTally()}
	d.template, d.idMark = p.webhook.request()
	cpu, begin := threadCPU(), time.Now()
	for range p.connections {
		d.connect()
	}
	err = d.loop(begin)
	return d.tally.report(p, time.Since(begin), threadCPU()-cpu), err
}

func (d *driver) loop(begin time.Time) error {
	checked := begin
	for len(d.clients) > 0 {
		events, err := d.poll.wait(100 * time.Millisecond)
		if err != nil {
			return err
		}
		for i := range events {
			if c := d.clients[events[i].Fd]; c != nil {
				d.step(c, gone(events[i]))
			}
		}
		now := time.Now()
		if d.plan.duration > 0 && d.open && now.Sub(begin) >= d.plan.duration {
			d.open = false // no more requests: connections end with their answer
		}
		if now.Sub(checked) > 100*time.Millisecond {
			checked = now
			d.expire(now)
		}
	}
	return nil
}

func (d *driver) expire(now time.Time) {
	for _, c := range d.clients {
		if now.Sub(c.began) > d.plan.timeout {
			d.fail(c, "timeout")
		}
	}
}

func (d *driver) connect() {
	if !d.more() {
		return
	}
	began := time.Now()
	fd, err := dial(d.plan.address)
	if err == nil {
		err = d.poll.add(fd)
	}
	if err != nil {
		d.started++
		d.tally.fail("connect: "+err.Error(), max(1, d.plan.perConn))
		return
	}
	c := &client{fd: fd, request: append([]byte(nil), d.template...), received: make([]byte, 0, 4096)}
	d.clients[int32(fd)] = c
	d.begin(c, began)
}

func (d *driver) more() bool {
	return d.open && (d.plan.count == 0 || d.started < d.plan.count)
}

// begin gives the connection its next request.
func (d *driver) begin(c *client, at time.Time) {
	d.started++
	c.began, c.sent = at, 0
	if d.idMark >= 0 {
		stamp(c.request[d.idMark:], d.started)
	}
}

// stamp writes a number into the last twelve digits of a delivery id.
func stamp(id []byte, number int) {
	digits := strconv.AppendInt(make([]byte, 0, 20), int64(number), 10)
	copy(id[len(deliveryMark)-len(digits):], digits)
}

// step does all that a connection can do now: connect, send, receive.
func (d *driver) step(c *client, gone bool) {
	if !c.connected {
		if err := connectError(c.fd); err != nil {
			d.fail(c, "connect: "+err.Error())
			return
		}
		c.connected = true
	}
	if err := c.send(); err != nil {
		d.fail(c, "send: "+err.Error())
		return
	}
	d.receive(c, gone)
}

func (c *client) send() error {
	for c.sent < len(c.request) {
		n, err := syscall.Write(c.fd, c.request[c.sent:])
		switch {
		case err == nil:
			c.sent += n
		case errors.Is(err, syscall.EAGAIN):
			return nil
		case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
			return nil // an answer may have come before; reading tells
		default:
			return err
		}
	}
	return nil
}

func (d *driver) receive(c *client, gone bool) {
	for more := true; more || gone; {
		before := len(c.received)
		var err error
		if c.received, more, err = fill(c.fd, c.received); err != nil {
			d.fail(c, "receive: "+err.Error())
			return
		}
		if len(c.received) == before || !d.answer(c) {
			return
		}
	}
}

// answer counts a complete response, if there is one, and begins the next request; false says that the connection ended.
func (d *driver) answer(c *client) (alive bool) {
	found, err := parseHead(c.received)
	if err != nil {
		d.fail(c, "answer: "+err.Error())
		return false
	}
	whole := found.size + found.length
	if found.size == 0 || len(c.received) < whole {
		return true
	}
	status, err := parseStatus(c.received)
	if err != nil {
		d.fail(c, "answer: "+err.Error())
		return false
	}
	now := time.Now()
	d.tally.answer(status, now.Sub(c.began))
	c.received = c.received[:copy(c.received, c.received[whole:])]
	c.done++
	return d.next(c, now, found.closes || c.sent < len(c.request))
}

// next decides how a connection goes on after an answer; false says that it has ended.
func (d *driver) next(c *client, now time.Time, closed bool) bool {
	ended := d.plan.perConn > 0 && c.done >= d.plan.perConn
	if closed || ended || !d.more() {
		d.drop(c)
		if closed && !ended {
			d.connect()
		}
		return false
	}
	d.begin(c, now)
	if err := c.send(); err != nil {
		d.fail(c, "send: "+err.Error())
		return false
	}
	return true
}

// fail ends a connection: its request got no answer, nor will those that were still to come on a connection of a burst.
// A lasting connection is replaced, unless there is nobody to connect to.
func (d *driver) fail(c *client, why string) {
	d.tally.fail(why, max(1, d.plan.perConn-c.done))
	d.drop(c)
	if c.connected && d.plan.perConn == 0 {
		d.connect()
	}
}

func (d *driver) drop(c *client) {
	delete(d.clients, int32(c.fd))
	syscall.Close(c.fd)
}
