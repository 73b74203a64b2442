package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	amqp "github.com/rabbitmq/amqp091-go"
)

var (
	accepted = promauto.NewCounter(prometheus.CounterOpts{
		Name: "ingest_accepted_total", Help: "Webhooks answered 2xx.",
	})
	refused = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "ingest_refused_total", Help: "Webhooks answered otherwise, by cause.",
	}, []string{"cause"})
	received = promauto.NewCounter(prometheus.CounterOpts{
		Name: "ingest_body_bytes_total", Help: "Bytes of accepted bodies.",
	})
	inFlight = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "ingest_in_flight", Help: "Webhooks published and not yet confirmed.",
	})
	confirmSeconds = promauto.NewHistogram(prometheus.HistogramOpts{
		Name: "ingest_confirm_seconds", Help: "From publish to confirm.", Buckets: prometheus.DefBuckets,
	})
)

// refusal is an answer other than 2xx.
type refusal struct {
	status int
	cause  string
}

func (r refusal) Error() string { return r.cause }

type ingest struct {
	settings
	broker *broker
}

func newIngest(config settings, broker *broker) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+config.path, &ingest{settings: config, broker: broker})
	return mux
}

func (in *ingest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, err := in.take(w, r)
	var no refusal
	switch {
	case err == nil:
		accepted.Inc()
		w.Header().Set("X-Forebay-Id", id)
		w.WriteHeader(http.StatusAccepted)
	case errors.As(err, &no):
		refuse(w, no)
	default:
		refuse(w, refusal{http.StatusServiceUnavailable, "broker"})
	}
}

func refuse(w http.ResponseWriter, no refusal) {
	refused.WithLabelValues(no.cause).Inc()
	if no.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	http.Error(w, http.StatusText(no.status), no.status)
}

// take reads, checks and publishes one webhook; it returns once the broker has it for good.
func (in *ingest) take(w http.ResponseWriter, r *http.Request) (string, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, in.bodyBytes))
	if err != nil {
		return "", unreadable(err)
	}
	if in.secret != "" && !signed(r.Header.Get("X-Hub-Signature-256"), in.secret, body) {
		return "", refusal{http.StatusUnauthorized, "signature"}
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	message := in.message(r, id.String(), body)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), in.confirmWait)
	defer cancel()
	began := time.Now()
	if err := in.broker.publish(ctx, message); err != nil {
		return "", err
	}
	confirmSeconds.Observe(time.Since(began).Seconds())
	received.Add(float64(len(body)))
	return message.MessageId, nil
}

func unreadable(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return refusal{http.StatusRequestEntityTooLarge, "too-large"}
	}
	return refusal{http.StatusBadRequest, "unreadable"}
}

// signed checks GitHub's signature (https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries).
func signed(header, secret string, body []byte) bool {
	given, err := hex.DecodeString(strings.TrimPrefix(header, "sha256="))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hmac.Equal(given, mac.Sum(nil))
}

// message is the webhook with everything a worker needs to know of it.
func (in *ingest) message(r *http.Request, id string, body []byte) amqp.Publishing {
	now := time.Now()
	client, _, _ := net.SplitHostPort(r.RemoteAddr)
	headers := amqp.Table{
		"forebay-envelope":    int32(1),
		"forebay-source":      in.source,
		"forebay-queue":       in.queue,
		"forebay-method":      r.Method,
		"forebay-target":      r.RequestURI,
		"forebay-received-at": now.UnixMilli(),
		"forebay-client":      client,
		"forebay-headers":     headerBlock(r),
	}
	for name, header := range map[string]string{
		"forebay-delivery-id": "X-GitHub-Delivery", "forebay-event-type": "X-GitHub-Event", "traceparent": "Traceparent",
	} {
		if value := r.Header.Get(header); value != "" {
			headers[name] = value
		}
	}
	return amqp.Publishing{
		Headers:      headers,
		ContentType:  r.Header.Get("Content-Type"),
		DeliveryMode: amqp.Persistent,
		MessageId:    id,
		Timestamp:    now,
		AppId:        "forebay",
		Body:         body,
	}
}

// headerBlock is the request's headers as text. net/http keeps no order.
func headerBlock(r *http.Request) string {
	var block strings.Builder
	block.WriteString("Host: " + r.Host + "\r\n")
	block.WriteString("Content-Length: " + strconv.FormatInt(r.ContentLength, 10) + "\r\n")
	for name, values := range r.Header {
		for _, value := range values {
			block.WriteString(name)
			block.WriteString(": ")
			block.WriteString(value)
			block.WriteString("\r\n")
		}
	}
	return block.String()
}
