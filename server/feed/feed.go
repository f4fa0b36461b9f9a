// Package feed wakes callers that wait for something to change.
//
// A waiter subscribes to keys ([User], [Device], [Room], [Blob]) with [Hub.Wait],
// then looks, and then sleeps on the channel. A writer names the keys that it
// changed with [Bump] in its transaction; the waiters are woken after the commit,
// on every node. A wake-up is a hint and may come without cause, so a waiter
// always looks again. A waiter also looks at intervals without a wake-up, because
// one from another node can be lost.
//
// Positions are not kept here: the store has one order of all writes, see
// db.Tx.NextPos.
package feed

import (
	"sync"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

// User is the key of what concerns one user of a network.
func User(network quinta.NetworkName, id quinta.UserID) string {
	return "u" + string(db.UserOf(network, id))
}

// Device is the key of what concerns one device only.
func Device(network quinta.NetworkName, user quinta.UserID, id quinta.DeviceID) string {
	return "d" + string(db.UserOf(network, user)) + " " + string(id)
}

// Room is the key of what concerns everyone in a room of a network.
func Room(network quinta.NetworkName, id quinta.RoomID) string {
	return "r" + string(network) + " " + string(id)
}

// Blob is the key of a file that is announced and may come.
func Blob(id string) string { return "b" + id }

// Bump wakes the waiters of the keys once tx is durable.
func Bump(tx *db.Tx, keys ...string) { tx.Wake(keys...) }

// A Hub knows the waiters of this node and their keys.
type Hub struct {
	mu      sync.Mutex
	waiters map[string]map[*Waiter]struct{}
	all     map[*Waiter]struct{}
}

// NewHub returns a hub that gets every wake-up of the store.
func NewHub(d *db.DB) *Hub {
	h := &Hub{waiters: map[string]map[*Waiter]struct{}{}, all: map[*Waiter]struct{}{}}
	d.Subscribe(h.wake)
	return h
}

// A Waiter waits for its keys. Close it when done.
type Waiter struct {
	hub  *Hub
	keys []string
	c    chan struct{}
}

// Wait returns a waiter for the keys. Changes after Wait returns are not
// missed: subscribe first, then look, then sleep.
func (h *Hub) Wait(keys ...string) *Waiter {
	w := &Waiter{hub: h, keys: keys, c: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all[w] = struct{}{}
	for _, k := range keys {
		m := h.waiters[k]
		if m == nil {
			m = map[*Waiter]struct{}{}
			h.waiters[k] = m
		}
		m[w] = struct{}{}
	}
	return w
}

// C gets a value when one of the keys changed since the last receive.
func (w *Waiter) C() <-chan struct{} { return w.c }

// Close ends the wait.
func (w *Waiter) Close() {
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.all, w)
	for _, k := range w.keys {
		m := h.waiters[k]
		delete(m, w)
		if len(m) == 0 {
			delete(h.waiters, k)
		}
	}
}

// Waiting returns how many waiters there are, for metrics.
func (h *Hub) Waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.all)
}

// wake wakes the waiters of the keys; of no keys, everyone.
func (h *Hub) wake(keys []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(keys) == 0 {
		for w := range h.all {
			w.ring()
		}
		return
	}
	for _, k := range keys {
		for w := range h.waiters[k] {
			w.ring()
		}
	}
}

func (w *Waiter) ring() {
	select {
	case w.c <- struct{}{}:
	default: // one is waiting to be received already
	}
}
