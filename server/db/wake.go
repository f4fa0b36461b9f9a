package db

import "sync"

// A subscriber is told which keys changed. No keys at all mean that anything
// may have changed, as after a lost connection.
type subscribers struct {
	mu  sync.RWMutex
	fns []func(keys []string)
}

// Subscribe calls fn, for as long as the store is open, with the keys of
// every committed Tx.Wake, of this node and of every other. With no keys
// anything may have changed: after a lost connection to the other nodes. fn
// must be quick.
func (d *DB) Subscribe(fn func(keys []string)) {
	d.subs.mu.Lock()
	defer d.subs.mu.Unlock()
	d.subs.fns = append(d.subs.fns, fn)
}

// publish tells this node's subscribers and the other nodes.
func (d *DB) publish(keys []string) {
	if len(keys) == 0 {
		return
	}
	d.deliver(keys)
	d.back.publish(keys)
}

func (d *DB) deliver(keys []string) {
	d.subs.mu.RLock()
	defer d.subs.mu.RUnlock()
	for _, fn := range d.subs.fns {
		fn(keys)
	}
}
