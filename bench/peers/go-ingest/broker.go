package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

var (
	errAway     = refusal{http.StatusServiceUnavailable, "broker-away"}
	errBlocked  = refusal{http.StatusServiceUnavailable, "broker-blocked"}
	errBusy     = refusal{http.StatusServiceUnavailable, "busy"}
	errNacked   = refusal{http.StatusServiceUnavailable, "nacked"}
	errReturned = refusal{http.StatusServiceUnavailable, "unroutable"}
	errLate     = refusal{http.StatusServiceUnavailable, "confirm-timeout"}
)

// broker publishes with confirms over one channel, and connects again when that is gone.
type broker struct {
	settings
	slots   chan struct{} // one for each webhook that waits for its confirm
	session atomic.Pointer[session]
	blocked atomic.Bool // a memory or disk alarm
}

// session is a channel and what came back on it.
type session struct {
	connection *amqp.Connection
	channel    *amqp.Channel
	returned   sync.Map // message ids that no queue took
}

func newBroker(config settings) *broker {
	return &broker{settings: config, slots: make(chan struct{}, config.inFlight)}
}

func (b *broker) ready() bool { return b.session.Load() != nil }

func (b *broker) close() {
	if s := b.session.Load(); s != nil {
		s.connection.Close()
	}
}

// publish returns nil once the broker has confirmed the message and has not returned it.
func (b *broker) publish(ctx context.Context, message amqp.Publishing) error {
	s := b.session.Load()
	if s == nil {
		return errAway
	}
	if b.blocked.Load() {
		return errBlocked
	}
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	default:
		return errBusy
	}
	inFlight.Inc()
	defer inFlight.Dec()
	return s.publish(ctx, b.exchange, b.key, message)
}

func (s *session) publish(ctx context.Context, exchange, key string, message amqp.Publishing) error {
	confirm, err := s.channel.PublishWithDeferredConfirmWithContext(ctx, exchange, key, true, false, message)
	if err != nil {
		return err
	}
	acked, err := confirm.WaitContext(ctx)
	if err != nil {
		return errLate
	}
	// RabbitMQ sends the return before the ack. The library hands returns to a channel, so that another goroutine
	// notes them, and nothing makes this one wait for that.
	if _, came := s.returned.LoadAndDelete(message.MessageId); came {
		return errReturned
	}
	if !acked {
		return errNacked
	}
	return nil
}

// keepConnected holds a session until ctx ends.
func (b *broker) keepConnected(ctx context.Context) {
	for ctx.Err() == nil {
		if err := b.connect(); err != nil {
			log.Printf("go-ingest: broker: %v", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// connect opens a session and returns when it has ended.
func (b *broker) connect() error {
	connection, err := amqp.DialConfig(b.brokerURL, amqp.Config{Heartbeat: 10 * time.Second})
	if err != nil {
		return err
	}
	defer connection.Close()
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	if err := channel.Confirm(false); err != nil {
		return err
	}
	s := &session{connection: connection, channel: channel}
	go s.noteReturns(channel.NotifyReturn(make(chan amqp.Return)))
	go b.noteBlocked(connection.NotifyBlocked(make(chan amqp.Blocking, 1)))
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	b.blocked.Store(false)
	b.session.Store(s)
	defer b.session.Store(nil)
	if reason := <-closed; reason != nil {
		return reason
	}
	return errors.New("closed")
}

func (s *session) noteReturns(returns <-chan amqp.Return) {
	for message := range returns {
		s.returned.Store(message.MessageId, nil)
	}
}

func (b *broker) noteBlocked(changes <-chan amqp.Blocking) {
	for change := range changes {
		b.blocked.Store(change.Active)
	}
}
