// Command go-worker delivers webhooks from a queue to an HTTP destination as a Go engineer would write it today:
// amqp091-go, net/http, client_golang. It is what Forebay's worker is measured against, so it does the same work: one
// request for each message with its original headers, acknowledged after the destination's 2xx.
//
// Flags: -broker URL, -queue NAME, -destination URL, -concurrency N (deliveries at a time; the prefetch is
// twice as many), -admin HOST:PORT (/metrics, /healthz). SIGTERM finishes what is in flight.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	amqp "github.com/rabbitmq/amqp091-go"
)

var (
	attempts = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "worker_attempts_total", Help: "Delivery attempts by outcome.",
	}, []string{"outcome"})
	delivered   = attempts.WithLabelValues("delivered")
	failed      = attempts.WithLabelValues("failed")
	undecodable = attempts.WithLabelValues("undecodable")
	seconds     = promauto.NewHistogram(prometheus.HistogramOpts{
		Name: "worker_delivery_seconds", Help: "One attempt.", Buckets: prometheus.DefBuckets,
	})
	inFlight = promauto.NewGauge(prometheus.GaugeOpts{Name: "worker_in_flight", Help: "Deliveries on their way."})
)

func main() {
	broker := flag.String("broker", "amqp://guest:guest@127.0.0.1:5672/", "AMQP URL")
	queue := flag.String("queue", "", "queue to consume")
	destination := flag.String("destination", "", "URL to post to")
	concurrency := flag.Int("concurrency", 10, "deliveries at a time")
	admin := flag.String("admin", "127.0.0.1:9090", "address of /metrics and /healthz")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()

	http.Handle("/metrics", promhttp.Handler())
	http.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	go func() { log.Fatal(http.ListenAndServe(*admin, nil)) }()

	w := newWorker(*destination, *concurrency)
	if err := w.run(ctx, *broker, *queue); err != nil {
		log.Fatalf("go-worker: %v", err)
	}
}

type worker struct {
	destination string
	concurrency int
	client      *http.Client
}

func newWorker(destination string, concurrency int) *worker {
	transport := &http.Transport{
		MaxConnsPerHost:     concurrency,
		MaxIdleConnsPerHost: concurrency,
		IdleConnTimeout:     75 * time.Second,
		DisableCompression:  true, // the destination's answer is not read
	}
	refuse := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second, CheckRedirect: refuse}
	return &worker{destination: destination, concurrency: concurrency, client: client}
}

func (w *worker) run(ctx context.Context, broker, queue string) error {
	connection, err := amqp.DialConfig(broker, amqp.Config{Heartbeat: 10 * time.Second})
	if err != nil {
		return err
	}
	defer connection.Close()
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	// One waits for each that is delivered, as in Forebay's worker: nobody is to stand still for the way to the broker.
	if err := channel.Qos(2*w.concurrency, 0, false); err != nil {
		return err
	}
	const tag = "go-worker"
	messages, err := channel.Consume(queue, tag, false, false, false, false, nil)
	if err != nil {
		return err
	}
	go func() {
		<-ctx.Done()
		channel.Cancel(tag, false)
	}()
	w.deliverAll(messages)
	if ctx.Err() == nil {
		return errors.New("the broker closed the channel")
	}
	return nil
}

// deliverAll delivers until messages end, as many at a time as the concurrency.
func (w *worker) deliverAll(messages <-chan amqp.Delivery) {
	var lanes sync.WaitGroup
	for range w.concurrency {
		lanes.Add(1)
		go func() {
			defer lanes.Done()
			for message := range messages {
				w.settle(message, w.deliver(message))
			}
		}()
	}
	lanes.Wait()
}

func (w *worker) settle(message amqp.Delivery, err error) {
	switch {
	case err == nil:
		delivered.Inc()
		message.Ack(false)
	case errors.Is(err, errUndecodable):
		undecodable.Inc()
		message.Reject(false)
	default:
		failed.Inc()
		message.Nack(false, true)
	}
}

var errUndecodable = errors.New("undecodable")

func (w *worker) deliver(message amqp.Delivery) error {
	inFlight.Inc()
	defer inFlight.Dec()
	request, err := w.request(message)
	if err != nil {
		return err
	}
	began := time.Now()
	response, err := w.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	seconds.Observe(time.Since(began).Seconds())
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("destination answered %s", response.Status)
	}
	return nil
}

// left out of what is passed on: what concerns the first connection only, and what this request has of its own.
var dropped = map[string]bool{
	"Host": true, "Connection": true, "Keep-Alive": true, "Content-Length": true, "Transfer-Encoding": true,
	"Te": true, "Trailer": true, "Upgrade": true, "Expect": true, "Proxy-Authorization": true, "Proxy-Connection": true,
}

func (w *worker) request(message amqp.Delivery) (*http.Request, error) {
	method, _ := message.Headers["forebay-method"].(string)
	block, _ := message.Headers["forebay-headers"].(string)
	source, _ := message.Headers["forebay-source"].(string)
	if method == "" || message.MessageId == "" {
		return nil, errUndecodable
	}
	request, err := http.NewRequest(method, w.destination, bytes.NewReader(message.Body))
	if err != nil {
		return nil, err
	}
	for line := range strings.SplitSeq(block, "\r\n") {
		name, value, found := strings.Cut(line, ": ")
		if name = http.CanonicalHeaderKey(name); found && !dropped[name] {
			request.Header[name] = append(request.Header[name], value)
		}
	}
	request.Header.Set("Idempotency-Key", message.MessageId)
	request.Header.Set("X-Forebay-Id", message.MessageId)
	request.Header.Set("X-Forebay-Source", source)
	request.Header.Set("X-Forebay-Attempt", "1")
	return request, nil
}
