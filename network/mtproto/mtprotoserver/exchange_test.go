package mtprotoserver_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"io"
	"math/big"
	"testing"
	"time"

	"github.com/gotd/td/bin"
	"github.com/gotd/td/crypto"
	"github.com/gotd/td/mtproxy"
	"github.com/gotd/td/transport"

	"github.com/quinta-chat/quinta/network/mtproto/wire"
)

// secretNone is the secret of an obfuscated connection without one.
var secretNone = mtproxy.Secret{}

// A tagless framing goes on behind a tag that was sent already.
type tagless struct {
	codec transport.Codec
	conn  io.ReadWriteCloser
}

func (c tagless) Send(_ context.Context, b *bin.Buffer) error { return c.codec.Write(c.conn, b) }
func (c tagless) Recv(_ context.Context, b *bin.Buffer) error { return c.codec.Read(c.conn, b) }
func (c tagless) Close() error                                { return c.conn.Close() }

// exchangeSend sends a message of a key exchange.
func exchangeSend(t *testing.T, f framing, req any) []byte {
	t.Helper()
	if err := f.Send(t.Context(), &bin.Buffer{Buf: wire.Plain(time.Now().Unix()<<32, marshal(t, req))}); err != nil {
		t.Fatal(err)
	}
	var b bin.Buffer
	if err := f.Recv(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Buf
}

// exchangeStep is one step of a key exchange, whose answer must be a T.
func exchangeStep[T any](t *testing.T, f framing, req any) T {
	t.Helper()
	body, err := wire.ParsePlain(exchangeSend(t, f, req))
	if err != nil {
		t.Fatal(err)
	}
	o, err := wire.Schema.Unmarshal(body)
	got, ok := o.(T)
	if err != nil || !ok {
		t.Fatalf("%T: got %T, %v", req, o, err)
	}
	return got
}

// exchangeCode is a step that must fail, and the code of that.
func exchangeCode(t *testing.T, f framing, req any) int32 {
	t.Helper()
	b := exchangeSend(t, f, req)
	if len(b) != 4 {
		t.Fatalf("%T: got %d bytes, want a code", req, len(b))
	}
	return int32(binary.LittleEndian.Uint32(b))
}

// sealInner makes the encrypted data of req_DH_params.
func sealInner(t *testing.T, key *rsa.PublicKey, res *wire.ResPQ) []byte {
	t.Helper()
	p, q, err := crypto.DecomposePQ(new(big.Int).SetBytes(res.PQ), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	inner := marshal(t, &wire.PQInnerDataDC{PQ: res.PQ, P: p.Bytes(), Q: q.Bytes(), Nonce: res.Nonce, ServerNonce: res.ServerNonce, NewNonce: [32]byte{9}, DC: 2})
	b, err := crypto.RSAPad(inner, key, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
