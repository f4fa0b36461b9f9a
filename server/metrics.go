package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/quinta-chat/quinta"
)

// Metrics count what a server does, for Prometheus. A nil one counts nothing.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	open     *prometheus.GaugeVec
	crowded  *prometheus.CounterVec
}

// NewMetrics makes metrics; Config.Metrics hands them to one core.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "quinta_requests_total", Help: "Answered requests by call and status.",
		}, []string{"method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "quinta_request_seconds", Help: "Time to answer, by call; long polls include their wait.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 30},
		}, []string{"method", "route"}),
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "quinta_connections", Help: "Open connections: HTTP connections, and by network the raw ones and those taken over from HTTP.",
		}, []string{"network"}),
		crowded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "quinta_connections_refused_total", Help: "Connections that were refused because there were too many.",
		}, []string{"network"}),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.open, m.crowded, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// of adds what an open core counts by itself.
func (m *Metrics) of(c *Core) {
	if m == nil {
		return
	}
	counter := func(name, help string, get func() int64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(get()) }))
	}
	counter("quinta_store_commits_total", "Committed transactions of the store.", func() int64 { return c.Stats().Commits })
	counter("quinta_store_writes_total", "Writes in these transactions.", func() int64 { return c.Stats().Requests })
	counter("quinta_store_syncs_total", "File syncs of an embedded store.", func() int64 { return c.Stats().Syncs })
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "quinta_waiters", Help: "Requests that are waiting for an event."},
		func() float64 { return float64(c.Hub.Waiting()) }))
}

// connections counts connections that were opened, or closed if n is negative.
func (m *Metrics) connections(network quinta.NetworkName, n int) {
	if m != nil {
		m.open.WithLabelValues(string(network)).Add(float64(n))
	}
}

// refused counts a connection that was not let in.
func (m *Metrics) refused(network quinta.NetworkName) {
	if m != nil {
		m.crowded.WithLabelValues(string(network)).Inc()
	}
}

// request counts one answered request.
func (m *Metrics) request(verb, route string, status int, took time.Duration) {
	if m == nil {
		return
	}
	verb = method(verb)
	m.requests.WithLabelValues(verb, route, strconv.Itoa(status)).Inc()
	if status != http.StatusSwitchingProtocols { // that is how long the connection was open
		m.seconds.WithLabelValues(verb, route).Observe(took.Seconds())
	}
}

// ServeHTTP answers in the text form of Prometheus.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}
