package server

import (
	"context"

	"github.com/quinta-chat/quinta/server/lease"
)

// OnOneNode does some work on one of the nodes that share the store: it waits
// until no other node does the work of that name, and then calls work. The
// context of work ends with ctx, or before another node can begin. OnOneNode
// returns when work returns by itself, or when ctx ends. A [Runner] calls it
// in Run.
//
// When the node that works stops, another one begins within seconds; when it
// dies, within 30 seconds. An embedded store has one node, which begins at
// once.
func (c *Core) OnOneNode(ctx context.Context, name string, work func(ctx context.Context) error) error {
	if c.Embedded() {
		return work(ctx)
	}
	l := lease.Lease{DB: c.DB, Name: name, Node: c.node, Terms: lease.Default, Log: c.Log}
	return l.Hold(ctx, work)
}
