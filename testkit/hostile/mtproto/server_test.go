// Package mtproto_test attacks the server half of the secret chats.
package mtproto_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/hostile/attack"
)

var update = flag.Bool("update", false, "write ATTACKS.md")

// patience bounds the wait for an answer: longer than the server lets a
// connection that has not begun wait.
const patience = 20 * time.Second

// ended says how a connection ended.
func ended(err error) string {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return "no answer"
	}
	return "closed"
}

func dial(t *testing.T, tg *attack.Target) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", tg.Addr(t, "mtproto"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// sends sends bytes over a connection and returns what they got: the server
// either closes the connection or has something to say.
func sends(raw ...byte) func(t *testing.T, tg *attack.Target) string {
	return func(t *testing.T, tg *attack.Target) string {
		c := dial(t, tg)
		if _, err := c.Write(raw); err != nil {
			return ended(err)
		}
		answer := make([]byte, 64)
		n, err := c.Read(answer)
		if err != nil {
			return ended(err)
		}
		return fmt.Sprintf("answer %x", answer[:n])
	}
}

// named says what a packet of the server is: a code of the transport, or a
// message in clear.
func named(t *testing.T, packet []byte) string {
	t.Helper()
	if len(packet) == 4 {
		return fmt.Sprint(int32(binary.LittleEndian.Uint32(packet)))
	}
	body, err := wire.ParsePlain(packet)
	if err != nil {
		return "sealed answer"
	}
	o, err := wire.Schema.Unmarshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%T", o)
}

// packets sends packets over an obfuscated connection and returns what the last
// got.
func packets(make ...func(t *testing.T, last []byte) []byte) func(t *testing.T, tg *attack.Target) string {
	return func(t *testing.T, tg *attack.Target) string {
		f, err := wire.Dial(dial(t, tg), rand.Reader, 2)
		if err != nil {
			t.Fatal(err)
		}
		var last []byte
		for _, m := range make {
			if err := f.Write(m(t, last)); err != nil {
				return ended(err)
			}
			if last, _, err = f.Read(); err != nil {
				return ended(err)
			}
		}
		return named(t, last)
	}
}

// bytesOf is a packet that is always the same.
func bytesOf(b []byte) func(*testing.T, []byte) []byte {
	return func(*testing.T, []byte) []byte { return b }
}

// plain is a message in clear.
func plain(t *testing.T, o any) []byte {
	t.Helper()
	b, err := wire.Schema.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return wire.Plain(time.Now().Unix()<<32, b)
}

// begins begins a key exchange.
func begins(t *testing.T, _ []byte) []byte { return plain(t, &wire.ReqPqMulti{Nonce: [16]byte{1}}) }

// guesses answers the server's question with nonsense, changed by fn.
func guesses(fn func(r *wire.ReqDHParams)) func(t *testing.T, last []byte) []byte {
	return func(t *testing.T, last []byte) []byte {
		body, err := wire.ParsePlain(last)
		if err != nil {
			t.Fatal(err)
		}
		o, err := wire.Schema.Unmarshal(body)
		if err != nil {
			t.Fatal(err)
		}
		q, ok := o.(*wire.ResPQ)
		if !ok {
			t.Fatalf("got %T, want the question", o)
		}
		r := &wire.ReqDHParams{Nonce: q.Nonce, ServerNonce: q.ServerNonce, P: []byte{3}, Q: []byte{5}, Fingerprint: q.Fingerprints[0], EncryptedData: make([]byte, 256)}
		fn(r)
		return plain(t, r)
	}
}

// posts posts a packet and returns what it got.
func posts(path string, packet func(t *testing.T) []byte) func(t *testing.T, tg *attack.Target) string {
	return func(t *testing.T, tg *attack.Target) string {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		q, err := http.NewRequestWithContext(ctx, http.MethodPost, tg.URL+path, bytes.NewReader(packet(t)))
		if err != nil {
			t.Fatal(err)
		}
		return tg.Answer(t, q)
	}
}

// socket sends messages over a websocket and returns how it ended.
func socket(opts *websocket.DialOptions, kind websocket.MessageType, messages ...[]byte) func(t *testing.T, tg *attack.Target) string {
	return func(t *testing.T, tg *attack.Target) string {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		ws, a, err := websocket.Dial(ctx, tg.URL+"/apiws", opts)
		if err != nil {
			if a != nil {
				return fmt.Sprint(a.StatusCode)
			}
			return ended(err)
		}
		defer func() { _ = ws.CloseNow() }()
		for _, m := range messages {
			if err := ws.Write(ctx, kind, m); err != nil {
				break // how it ended is read below
			}
		}
		_, got, err := ws.Read(ctx)
		if err == nil {
			return fmt.Sprintf("answer %x", got)
		}
		if code := websocket.CloseStatus(err); code != -1 {
			return "closed: " + code.String()
		}
		return ended(err)
	}
}

// TestAttackServer: attacks of those who have no key yet, or who speak no proper
// transport, TL or HTTP.
func TestAttackServer(t *testing.T) {
	tg := &attack.Target{Server: quintatest.Start(t, quintatest.Setting("mtproto-listen", "127.0.0.1:0")), Code: func([]byte) string { return "" }}
	packets(begins)(t, tg) // the server has its secrets from the first exchange on
	stranger := append([]byte{1, 2, 3, 4, 5, 6, 7, 8}, make([]byte, 64)...)
	full := func(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
	binaryOnly := &websocket.DialOptions{Subprotocols: []string{wire.Subprotocol}}
	rows := []attack.Row{
		// The transports.
		{Tries: "an abridged packet of nothing", Do: sends(0xef, 0), Want: "closed"},
		{Tries: "an abridged packet of 64 MB", Do: sends(0xef, 0x7f, 0xff, 0xff, 0xff), Want: "closed"},
		{Tries: "an intermediate packet of 2 GB", Do: sends(append([]byte{0xee, 0xee, 0xee, 0xee}, 0xff, 0xff, 0xff, 0x7f)...), Want: "closed"},
		{Tries: "an intermediate packet of nothing", Do: sends(append([]byte{0xee, 0xee, 0xee, 0xee}, 0, 0, 0, 0)...), Want: "closed"},
		{Tries: "a padded packet of three bytes", Do: sends(append([]byte{0xdd, 0xdd, 0xdd, 0xdd}, 3, 0, 0, 0, 1, 2, 3)...), Want: "closed"},
		{Tries: "a full packet whose checksum is wrong", Do: sends(append(append(full(16), full(0)...), 1, 2, 3, 4, 5, 6, 7, 8)...), Want: "closed"},
		{Tries: "a full packet of 1 GB", Do: sends(append(full(1<<30), full(0)...)...), Want: "closed"},
		{Tries: "a full packet shorter than its frame", Do: sends(append(full(4), full(0)...)...), Want: "closed"},
		{Tries: "HTTP on the port of the protocol", Do: sends([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n" + strings.Repeat(" ", 64))...), Want: "closed"},
		{Tries: "TLS on the port of the protocol", Do: sends(append([]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03}, make([]byte, 64)...)...), Want: "closed"},
		// Packets.
		{Tries: "a packet under a key that nobody has", Do: packets(bytesOf(stranger)), Want: "-404"},
		{Tries: "a packet of seven bytes", Do: packets(bytesOf(make([]byte, 7))), Want: "closed"},
		{Tries: "a message in clear without a body", Do: packets(bytesOf(wire.Plain(time.Now().Unix()<<32, nil))), Want: "-404"},
		{Tries: "a message in clear whose length lies", Do: packets(bytesOf(append(make([]byte, 16), 0xff, 0xff, 0xff, 0x7f, 1, 2, 3, 4))), Want: "-404"},
		{Tries: "a constructor that nobody knows, in clear", Do: packets(bytesOf(wire.Plain(time.Now().Unix()<<32, []byte{0xde, 0xad, 0xbe, 0xef}))), Want: "-404"},
		{Tries: "a call in clear", Do: packets(func(t *testing.T, _ []byte) []byte { return plain(t, &wire.GetConfig{}) }), Want: "-404"},
		{Tries: "a container in clear", Do: packets(bytesOf(wire.Plain(time.Now().Unix()<<32, wire.Container([]wire.Message{{ID: 4, Body: []byte{1, 2, 3, 4}}})))), Want: "-404"},
		// The key exchange.
		{Tries: "the second step without the first", Do: packets(func(t *testing.T, _ []byte) []byte {
			return plain(t, &wire.ReqDHParams{P: []byte{3}, Q: []byte{5}, EncryptedData: make([]byte, 256)})
		}), Want: "-404"},
		{Tries: "the third step without the second", Do: packets(begins, func(t *testing.T, _ []byte) []byte {
			return plain(t, &wire.SetClientDHParams{Nonce: [16]byte{1}, EncryptedData: make([]byte, 320)})
		}), Want: "-404"},
		{Tries: "a proof of work that is none", Do: packets(begins, guesses(func(*wire.ReqDHParams) {})), Want: "-404"},
		{Tries: "an answer for the nonce of another exchange", Do: packets(begins, guesses(func(r *wire.ReqDHParams) { r.Nonce[0]++ })), Want: "-404"},
		{Tries: "an answer for a server's nonce that was made up", Do: packets(begins, guesses(func(r *wire.ReqDHParams) { r.ServerNonce[0]++ })), Want: "-404"},
		{Tries: "an answer under an RSA key that the server does not have", Do: packets(begins, guesses(func(r *wire.ReqDHParams) { r.Fingerprint++ })), Want: "-404"},
		{Tries: "sealed data of 255 bytes", Do: packets(begins, guesses(func(r *wire.ReqDHParams) { r.EncryptedData = r.EncryptedData[:255] })), Want: "-404"},
		{Tries: "sealed data of 64 KiB", Do: packets(begins, guesses(func(r *wire.ReqDHParams) { r.EncryptedData = make([]byte, 64<<10) })), Want: "-404"},
		{Tries: "sealed data that is not below the modulus", Do: packets(begins, guesses(func(r *wire.ReqDHParams) { r.EncryptedData = bytes.Repeat([]byte{0xff}, 256) })), Want: "-404"},
		// HTTP.
		{Tries: "HTTP: a packet under a key that nobody has", Do: posts("/api", func(*testing.T) []byte { return stranger }), Want: "404"},
		{Tries: "HTTP: no packet", Do: posts("/apiw", func(*testing.T) []byte { return nil }), Want: "400"},
		{Tries: "HTTP: the second step without the first", Do: posts("/api", func(t *testing.T) []byte {
			return plain(t, &wire.ReqDHParams{P: []byte{3}, Q: []byte{5}, EncryptedData: make([]byte, 256)})
		}), Want: "404"},
		{Tries: "HTTP: a packet in the address", Method: http.MethodGet, Path: "/api?packet=AAAA", Want: "405"},
		{Tries: "HTTP: a packet of 1 GB that is announced", Raw: "POST /api HTTP/1.1\r\nHost: hs1\r\nContent-Length: 1073741824\r\n\r\n0", Want: "413"},
		// WebSocket.
		{Tries: "websocket: no upgrade", Method: http.MethodGet, Path: "/apiws", Want: "426"},
		{Tries: "websocket: text", Do: socket(binaryOnly, websocket.MessageText, []byte(strings.Repeat("x", 80))), Want: "closed: StatusUnsupportedData"},
		{Tries: "websocket: a packet that is not obfuscated", Do: socket(binaryOnly, websocket.MessageBinary, append([]byte{0xef, 1}, make([]byte, 80)...)), Want: "closed: StatusNormalClosure"},
		{Tries: "websocket: a message of 4 MiB", Do: socket(binaryOnly, websocket.MessageBinary, make([]byte, 4<<20)), Want: "closed: StatusMessageTooBig"},
	}
	attack.Run(t, tg, rows, "ATTACKS.md", *update)
}
