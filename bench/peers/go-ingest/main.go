// Command go-ingest accepts webhooks as a Go engineer would write it today: net/http, amqp091-go, client_golang. It is
// what Forebay's ingest is measured against, so it does the same work: it checks GitHub's signature, gives the event an
// id, publishes persistent and mandatory, and answers 2xx only after the broker's confirm.
//
// Settings are environment variables: LISTEN and ADMIN_LISTEN (host:port), WEBHOOK_PATH, WEBHOOK_SECRET (empty: no
// signature is asked for), BROKER_URL, EXCHANGE, ROUTING_KEY, SOURCE ("namespace/name"). SIGTERM drains.
package main

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type settings struct {
	listen, adminListen          string
	path, secret                 string
	brokerURL, exchange, key     string
	source, queue                string
	bodyBytes                    int64
	headerBytes                  int
	inFlight                     int
	confirmWait, drain, idleWait time.Duration
}

func fromEnvironment() settings {
	key := env("ROUTING_KEY", "forebay.bench.go.default")
	return settings{
		listen:      env("LISTEN", "127.0.0.1:8080"),
		adminListen: env("ADMIN_LISTEN", "127.0.0.1:9090"),
		path:        env("WEBHOOK_PATH", "/hook"),
		secret:      env("WEBHOOK_SECRET", ""),
		brokerURL:   env("BROKER_URL", "amqp://guest:guest@127.0.0.1:5672/"),
		exchange:    env("EXCHANGE", "forebay.bench.go"),
		key:         key,
		source:      env("SOURCE", "bench/go"),
		queue:       key[strings.LastIndexByte(key, '.')+1:],
		bodyBytes:   1 << 20,
		headerBytes: 32 << 10,
		inFlight:    2000,
		confirmWait: 5 * time.Second,
		drain:       25 * time.Second,
		idleWait:    75 * time.Second,
	}
}

func env(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

func main() {
	uuid.EnableRandPool() // one system call for many ids
	config := fromEnvironment()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()

	broker := newBroker(config)
	go broker.keepConnected(ctx)

	public := &http.Server{
		Handler:           newIngest(config, broker),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       config.idleWait,
		MaxHeaderBytes:    config.headerBytes,
	}
	admin := &http.Server{Handler: adminHandler(broker), ReadHeaderTimeout: 10 * time.Second}
	serve(public, config.listen)
	serve(admin, config.adminListen)
	<-ctx.Done()
	drain, cancel := context.WithTimeout(context.Background(), config.drain)
	defer cancel()
	public.Shutdown(drain)
	broker.close()
}

func serve(server *http.Server, address string) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatalf("go-ingest: %v", err)
	}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Fatalf("go-ingest: %v", err)
		}
	}()
}

func adminHandler(broker *broker) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.Handler())
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !broker.ready() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	return mux
}
