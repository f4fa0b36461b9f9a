package mtprotoserver

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/network/internal/socket"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
)

// serveWebsocket serves a connection over a websocket: a stream of bytes in
// binary messages, always obfuscated. "Transports", "WebSocket". Pages of any
// origin may connect, since no cookie speaks for anyone here.
func (s *mtprotoServer) serveWebsocket(w http.ResponseWriter, r *http.Request) {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	cfg := socket.Config{Limit: wire.MaxFrame + 64, Binary: true, Origins: []string{"*"}, Subprotocols: []string{wire.Subprotocol}}
	// A request that cannot become a websocket has been answered.
	_ = socket.Serve(s.Core, w, r, cfg, func(ctx context.Context, ws *socket.Conn) {
		b := &bytesOver{ws: ws, local: local, remote: webAddr(incoming.Addr(r))}
		defer b.Close()
		s.serve(ctx, b, wire.AcceptObfuscated)
	})
}

// A webAddr is the address of a client whose port says nothing.
type webAddr string

func (webAddr) Network() string  { return "tcp" }
func (a webAddr) String() string { return string(a) }

// A bytesOver is the stream of bytes in the messages of a websocket. A read
// deadline closes the connection; each write has the socket's own.
type bytesOver struct {
	ws            *socket.Conn
	local, remote net.Addr
	rest          []byte // of the message that is being read

	mu    sync.Mutex
	timer *time.Timer
}

var _ net.Conn = (*bytesOver)(nil)

func (b *bytesOver) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		var err error
		if b.rest, err = b.ws.Read(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *bytesOver) Write(p []byte) (int, error) {
	if err := b.ws.Write(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (b *bytesOver) Close() error {
	var _ = b.SetReadDeadline(time.Time{}) // it never fails
	b.ws.Close(socket.Normal, "")
	return nil
}

func (b *bytesOver) LocalAddr() net.Addr  { return b.local }
func (b *bytesOver) RemoteAddr() net.Addr { return b.remote }

func (b *bytesOver) SetReadDeadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	if !t.IsZero() {
		b.timer = time.AfterFunc(time.Until(t), func() { b.ws.Close(socket.Policy, "silent for too long") })
	}
	return nil
}

func (b *bytesOver) SetDeadline(t time.Time) error    { return b.SetReadDeadline(t) }
func (b *bytesOver) SetWriteDeadline(time.Time) error { return nil }
