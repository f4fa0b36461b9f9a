package mtprotoclient

import (
	"bytes"
	"compress/gzip"
	"errors"
	"testing"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
)

// FuzzResult reads what a server answers to a call, plain and packed: it is an
// object or an error, never both and never none; a refusal is never an object;
// and packing changes nothing.
func FuzzResult(f *testing.F) {
	for _, o := range []any{
		&wire.RPCError{Code: 420, Message: "FLOOD_WAIT_3"}, &wire.MsgsAck{MsgIDs: []int64{1, 2}},
		&wire.NewSessionCreated{FirstMsgID: 1, UniqueID: 2, ServerSalt: 3}, &wire.GzipPacked{Data: []byte("no gzip")},
	} {
		b, err := wire.Schema.Marshal(o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		plain := read(t, body)
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(body); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		b, err := wire.Schema.Marshal(&wire.GzipPacked{Data: packed.Bytes()})
		if err != nil {
			t.Fatal(err)
		}
		if o, err := wire.Schema.Unmarshal(body); err == nil {
			if _, twice := o.(*wire.GzipPacked); twice {
				return // an answer is packed once
			}
		}
		if again := read(t, b); (again == nil) != (plain == nil) {
			t.Errorf("got %T plain and %T packed", plain, again)
		}
	})
}

// read returns the object of an answer, or nil if it is an error.
func read(t *testing.T, body []byte) any {
	t.Helper()
	o, err := result(body)
	if (o == nil) != (err != nil) {
		t.Fatalf("got %T with the error %v", o, err)
	}
	if _, refused := o.(*wire.RPCError); refused {
		t.Error("a refusal was taken as an answer")
	}
	var refusal callError
	if err != nil && !errors.As(err, &refusal) && quinta.KindOf(err) != quinta.KindUnavailable {
		t.Errorf("got the error %v, want one of a server that cannot be used", err)
	}
	return o
}
