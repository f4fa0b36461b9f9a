package wire

import (
	"errors"
	"net"
	"sync/atomic"
)

// ErrStanza: the other side sent a stanza that is too large.
var ErrStanza = errors.New("xmpp: the server sent more than 1 MiB without finishing a stanza")

// maxUnread bounds what is read of one stanza. The reader buffers, so a stanza
// of MaxStanza always passes.
const maxUnread = 1 << 20

// A Bounded is a connection that ends if too much comes before Reset: the XML
// reader above it has no bound of its own.
type Bounded struct {
	net.Conn
	read atomic.Int64
}

// Read reads, and fails once more than 1 MiB came since the last Reset.
func (b *Bounded) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if b.read.Add(int64(n)) > maxUnread {
		return 0, ErrStanza
	}
	return n, err
}

// Reset begins the count again. It is called when a stanza was taken.
func (b *Bounded) Reset() { b.read.Store(0) }
