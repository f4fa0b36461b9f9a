//go:build peers

package libolm_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/megolm"
	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/testkit/peer/matrix/libolm"
)

func groupMessage(t *testing.T, body string) *megolm.Message {
	t.Helper()
	return must[*megolm.Message](t)(megolm.ParseMessage(must[[]byte](t)(base64text.Decode(body))))
}

func unbase64(t *testing.T, s string) []byte {
	t.Helper()
	return must[[]byte](t)(base64text.Decode(s))
}

// TestGroupSessions plays rooms in both makes with the same randomness: both
// write the same bytes, and each opens what is written, in any order, from any
// index on, also by way of exports.
func TestGroupSessions(t *testing.T) {
	t.Parallel()
	p := start(t)
	for seed := range uint64(150) {
		random := newNoise(seed).take(t, 160)
		id := must[string](t)(p.GroupOutbound(0, random))
		out := must[*megolm.Outbound](t)(megolm.NewOutbound(bytes.NewReader(random)))
		if string(out.ID()) != id {
			t.Fatalf("seed %d: got id %s, want %s", seed, out.ID(), id)
		}
		dice := rand.New(rand.NewPCG(seed, 11))
		var sent []string
		for range dice.IntN(400) {
			sent = append(sent, sealBoth(t, p, out, len(sent)))
		}
		start := uint32(len(sent))
		sessionKey := must[string](t)(p.GroupKey(0))
		if got := base64text.Encode(out.SessionKey()); got != sessionKey {
			t.Fatalf("seed %d: session key at %d: got %s, want %s", seed, start, got, sessionKey)
		}
		in := must[*megolm.Inbound](t)(megolm.NewInbound(unbase64(t, sessionKey)))
		if theirID, first, err := p.GroupInbound(0, sessionKey, false); err != nil || theirID != id || first != in.FirstIndex() {
			t.Fatalf("seed %d: got first index %d, libolm %d, %v", seed, in.FirstIndex(), first, err)
		}
		for range 20 {
			sent = append(sent, sealBoth(t, p, out, len(sent)))
		}
		for range 30 {
			i := dice.IntN(len(sent))
			openBoth(t, p, in, sent[i], uint32(i), start)
		}
		exportBoth(t, p, in, start+uint32(dice.IntN(1<<20)))
	}
}

// sealBoth seals the same in both makes.
func sealBoth(t *testing.T, p *libolm.Peer, out *megolm.Outbound, i int) string {
	t.Helper()
	text := fmt.Append(nil, "message ", i)
	want := must[string](t)(p.GroupEncrypt(0, text))
	if got := base64text.Encode(must[[]byte](t)(out.Seal(text))); got != want {
		t.Fatalf("message %d: got %s, want %s", i, got, want)
	}
	return want
}

// openBoth opens message i in both makes; both refuse it if it is before the
// first index.
func openBoth(t *testing.T, p *libolm.Peer, in *megolm.Inbound, body string, i, first uint32) {
	t.Helper()
	got, err := in.Open(groupMessage(t, body))
	index, theirs, theirErr := p.GroupDecrypt(0, body)
	if i < first {
		if !errors.Is(err, megolm.ErrUnknownIndex) || !errors.Is(theirErr, libolm.Error("UNKNOWN_MESSAGE_INDEX")) {
			t.Fatalf("message %d of a session from %d: got %v, libolm %v, want refusals", i, first, err, theirErr)
		}
		return
	}
	want := fmt.Sprint("message ", i)
	if err != nil || theirErr != nil || index != i || string(got) != want || string(theirs) != want {
		t.Fatalf("message %d: got %q, %v, libolm %q, %v, want %q", i, got, err, theirs, theirErr, want)
	}
	b := unbase64(t, body)
	b[len(b)-1-int(i)%len(b)] ^= 1
	changed := base64text.Encode(b)
	if m, err := megolm.ParseMessage(b); err == nil {
		if got, err := in.Open(m); err == nil {
			t.Fatalf("message %d changed: got %q, want a refusal", i, got)
		}
	}
	if _, got, err := p.GroupDecrypt(0, changed); err == nil {
		t.Fatalf("message %d changed: libolm opens %q", i, got)
	}
}

// exportBoth exports at an index in both makes, and imports the other's.
func exportBoth(t *testing.T, p *libolm.Peer, in *megolm.Inbound, index uint32) {
	t.Helper()
	want := must[string](t)(p.GroupExport(0, index))
	got := base64text.Encode(must[[]byte](t)(in.Export(index)))
	if got != want {
		t.Fatalf("export at %d: got %s, want %s", index, got, want)
	}
	imported := must[*megolm.Inbound](t)(megolm.Import(unbase64(t, want)))
	_, first, err := p.GroupInbound(1, got, true)
	if err != nil || first != index || imported.FirstIndex() != index {
		t.Fatalf("import at %d: got %d, libolm %d, %v", index, imported.FirstIndex(), first, err)
	}
}

// TestGroupExportFar holds the jump over many indices against libolm, which
// jumps less than 2^31 at once.
func TestGroupExportFar(t *testing.T) {
	t.Parallel()
	p := start(t)
	must[string](t)(p.GroupOutbound(0, newNoise(1).take(t, 160)))
	sessionKey := must[string](t)(p.GroupKey(0))
	in := must[*megolm.Inbound](t)(megolm.NewInbound(unbase64(t, sessionKey)))
	if _, _, err := p.GroupInbound(0, sessionKey, false); err != nil {
		t.Fatal(err)
	}
	dice := rand.New(rand.NewPCG(1, 2))
	for _, index := range []uint32{0, 1, 255, 256, 257, 65535, 65536, 1<<24 - 1, 1 << 24, 1<<24 + 65536 + 256 + 1, 1<<31 - 1} {
		exportBoth(t, p, in, index)
	}
	for range 200 {
		exportBoth(t, p, in, dice.Uint32N(1<<31))
	}
	for _, base := range []uint32{1<<31 - 1, 1<<31 + 77} {
		exported := must[string](t)(p.GroupExport(0, base))
		if _, _, err := p.GroupInbound(0, exported, true); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			exportBoth(t, p, in, base+dice.Uint32N(1<<32-1-base))
		}
	}
	exportBoth(t, p, in, 1<<32-1)
}

// TestGroupSessionKeyRefused: a session key with a wrong signature is refused
// by both.
func TestGroupSessionKeyRefused(t *testing.T) {
	t.Parallel()
	p := start(t)
	must[string](t)(p.GroupOutbound(0, newNoise(1).take(t, 160)))
	b := unbase64(t, must[string](t)(p.GroupKey(0)))
	b[10] ^= 1
	if _, err := megolm.NewInbound(b); !errors.Is(err, megolm.ErrBadSignature) {
		t.Errorf("got %v, want ErrBadSignature", err)
	}
	if _, _, err := p.GroupInbound(0, base64text.Encode(b), false); !errors.Is(err, libolm.Error("BAD_SIGNATURE")) {
		t.Errorf("libolm says %v, want a refusal of the signature", err)
	}
}
