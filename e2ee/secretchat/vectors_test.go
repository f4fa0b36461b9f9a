package secretchat

import (
	"bytes"
	"crypto/aes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/secretchat/schema"

	"github.com/quinta-chat/quinta/internal/ige"
)

// hexBytes is a byte string of the vectors.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	v, err := hex.DecodeString(s)
	*h = v
	return err
}

// read decodes a file of the vectors; an unknown member fails the test.
func read[T any](t *testing.T, name string) T {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var v T
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

type dhKeys struct {
	About string   `json:"about"`
	P     hexBytes `json:"p"`
	Cases []struct {
		G              int `json:"g"`
		A, B           hexBytes
		GA             hexBytes `json:"g_a"`
		GB             hexBytes `json:"g_b"`
		Key            hexBytes
		Note           string
		KeyFingerprint string `json:"key_fingerprint"`
	} `json:"cases"`
}

func key(t testing.TB, b []byte) *Key {
	t.Helper()
	k, err := ParseKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func secret(t *testing.T, b []byte) *Secret {
	t.Helper()
	full := make([]byte, Size)
	copy(full[Size-len(b):], b)
	s, err := ParseSecret(full)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVectorsGroups(t *testing.T) {
	v := read[struct {
		About string
		P     hexBytes
		PAndG []struct {
			P       hexBytes
			G       int
			PIsSafe bool `json:"p_is_safe_2048"`
			GOKForP bool `json:"g_ok_for_p"`
			OK      bool
			Note    string
		} `json:"p_and_g"`
		GA []struct {
			GA   hexBytes `json:"g_a"`
			OK   bool
			Note string
		} `json:"g_a"`
	}](t, "dh.json")
	if len(v.PAndG) != 17 || len(v.GA) != 12 {
		t.Fatalf("%d groups and %d values, want 17 and 12", len(v.PAndG), len(v.GA))
	}
	var judge Verdicts
	for _, c := range v.PAndG {
		g, err := judge.Group(rand.Reader, c.G, c.P)
		if (err == nil) != c.OK || (err != nil && !errors.Is(err, ErrWeakGroup)) {
			t.Errorf("%s (g = %d): got %v, want ok %v", c.Note, c.G, err, c.OK)
		}
		if err == nil && (g.G() != c.G || !bytes.Equal(g.P(), c.P)) {
			t.Errorf("%s: another group came back", c.Note)
		}
		if got := generates(c.G, c.P); got != c.GOKForP {
			t.Errorf("%s: g = %d generates: got %v, want %v", c.Note, c.G, got, c.GOKForP)
		}
		if len(c.P) == Size && c.P[0]&0x80 != 0 {
			if got, err := safePrime(rand.Reader, c.P); err != nil || got != c.PIsSafe {
				t.Errorf("%s: safe: got %v, %v, want %v", c.Note, got, err, c.PIsSafe)
			}
		} else if c.PIsSafe {
			t.Errorf("%s: the length of p is wrong and it is called safe", c.Note)
		}
	}
	g, err := judge.Group(rand.Reader, 3, v.P)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range v.GA {
		if err := g.Check(c.GA); (err == nil) != c.OK {
			t.Errorf("g_a %s: got %v, want ok %v", c.Note, err, c.OK)
		}
	}
}

// TestRangeEnds holds the two ends of the range, which are inside.
func TestRangeEnds(t *testing.T) {
	g := KnownGroup()
	one := big.NewInt(1)
	low := new(big.Int).Lsh(one, 1984)
	high := new(big.Int).Sub(new(big.Int).SetBytes(g.P()), low)
	for _, c := range []struct {
		v  *big.Int
		ok bool
	}{{low, true}, {high, true}, {new(big.Int).Sub(low, one), false}, {new(big.Int).Add(high, one), false}} {
		if err := g.Check(c.v.Bytes()); (err == nil) != c.ok {
			t.Errorf("value of %d bits: got %v, want ok %v", c.v.BitLen(), err, c.ok)
		}
	}
}

func TestVectorsAgreement(t *testing.T) {
	v := read[dhKeys](t, "dh_key.json")
	var judge Verdicts
	if len(v.Cases) != 5 {
		t.Fatalf("%d cases, want 5", len(v.Cases))
	}
	for i, c := range v.Cases {
		g, err := judge.Group(rand.Reader, c.G, v.P)
		if err != nil {
			t.Fatal(err)
		}
		a, b := secret(t, c.A), secret(t, c.B)
		for _, s := range []struct {
			own        *Secret
			pub, other []byte
		}{{a, c.GA, c.GB}, {b, c.GB, c.GA}} {
			pub, err := s.own.Public(g)
			if err != nil || !bytes.Equal(pub, s.pub) {
				t.Errorf("case %d: public value: got %x, %v, want %x", i, pub, err, []byte(s.pub))
			}
			k, err := s.own.Agree(g, s.other)
			if err != nil || !bytes.Equal(k.Bytes(), c.Key) {
				t.Errorf("case %d: the key is another one (%v)", i, err)
			}
		}
	}
}

type kdfCases struct {
	About string
	Cases []struct {
		Key        hexBytes
		X          int
		Padded     hexBytes
		Plaintext  hexBytes
		PlainPad   hexBytes `json:"plaintext_with_padding"`
		MsgKey     hexBytes `json:"msg_key"`
		AESKey     hexBytes `json:"aes_key"`
		AESIV      hexBytes `json:"aes_iv"`
		Ciphertext hexBytes
	}
}

func TestVectorsKDF2(t *testing.T) {
	v := read[kdfCases](t, "kdf_v2.json")
	if len(v.Cases) != 12 {
		t.Fatalf("%d cases, want 12", len(v.Cases))
	}
	for i, c := range v.Cases {
		k := key(t, c.Key)
		if got := k.msgKey(c.X, c.PlainPad); !bytes.Equal(got[:], c.MsgKey) {
			t.Errorf("case %d: msg_key: got %x, want %x", i, got, []byte(c.MsgKey))
		}
		ak, iv := k.keys(c.X, c.MsgKey)
		if !bytes.Equal(ak[:], c.AESKey) || !bytes.Equal(iv[:], c.AESIV) {
			t.Errorf("case %d: got key %x, iv %x", i, ak, iv)
		}
		packet := append(make([]byte, headSize), c.PlainPad...)
		if err := sealPadded(k, c.X, packet); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(packet[headSize:], c.Ciphertext) {
			t.Errorf("case %d: ciphertext: got %x", i, packet[headSize:])
		}
	}
}

func TestVectorsKDF1(t *testing.T) {
	v := read[kdfCases](t, "kdf_v1.json")
	if len(v.Cases) != 6 {
		t.Fatalf("%d cases, want 6", len(v.Cases))
	}
	for i, c := range v.Cases {
		k := key(t, c.Key)
		if got := sha1.Sum(c.Plaintext); !bytes.Equal(got[4:], c.MsgKey) || c.X != 0 {
			t.Errorf("case %d: msg_key: got %x, want %x", i, got[4:], []byte(c.MsgKey))
		}
		ak, iv := k.keysV1(c.MsgKey)
		if !bytes.Equal(ak[:], c.AESKey) || !bytes.Equal(iv[:], c.AESIV) {
			t.Errorf("case %d: got key %x, iv %x", i, ak, iv)
		}
		b, err := aes.NewCipher(ak[:])
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(c.Padded))
		chain := iv
		ige.Encrypt(b, &chain, got, c.Padded)
		if !bytes.Equal(got, c.Ciphertext) {
			t.Errorf("case %d: ciphertext: got %x", i, got)
		}
		chain = iv
		ige.Decrypt(b, &chain, got, got)
		if !bytes.Equal(got, c.Padded) {
			t.Errorf("case %d: plaintext: got %x", i, got)
		}
	}
}

func fingerprint(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestVectorsChats(t *testing.T) {
	v := read[struct {
		About string
		Cases []struct {
			TDLibIsCreator bool `json:"tdlib_is_creator"`
			G              int
			GA             hexBytes `json:"g_a"`
			GB             hexBytes `json:"g_b"`
			A, B           hexBytes
			Key            hexBytes
			Fingerprint    string   `json:"key_fingerprint"`
			FingerprintLE  hexBytes `json:"key_fingerprint_le_hex"`
			Hash           hexBytes `json:"key_hash_shown_by_tdlib"`
		}
	}](t, "tdlib_chats.json")
	if len(v.Cases) != 2 {
		t.Fatalf("%d cases, want 2", len(v.Cases))
	}
	for i, c := range v.Cases {
		own, peer := c.B, c.GA
		if !c.TDLibIsCreator {
			own, peer = c.A, c.GB
		}
		k, err := secret(t, own).Agree(KnownGroup(), peer)
		if err != nil || !bytes.Equal(k.Bytes(), c.Key) {
			t.Fatalf("case %d: the key is another one (%v)", i, err)
		}
		if got, want := k.Fingerprint(), fingerprint(t, c.Fingerprint); got != want {
			t.Errorf("case %d: fingerprint: got %d, want %d", i, got, want)
		}
		if h := k.Hash(); !bytes.Equal(h[:], c.Hash) {
			t.Errorf("case %d: hash: got %x, want %x", i, h, []byte(c.Hash))
		}
	}
}

func TestVectorsRekey(t *testing.T) {
	v := read[struct {
		About string
		Cases []struct {
			StartedBy   string   `json:"started_by"`
			ExchangeID  string   `json:"exchange_id"`
			GA          hexBytes `json:"g_a"`
			GB          hexBytes `json:"g_b"`
			A, B        hexBytes
			Key         hexBytes
			Fingerprint string `json:"key_fingerprint"`
		}
	}](t, "tdlib_rekey.json")
	if len(v.Cases) != 2 {
		t.Fatalf("%d cases, want 2", len(v.Cases))
	}
	for i, c := range v.Cases {
		own, peer := c.A, c.GB
		if len(own) == 0 {
			own, peer = c.B, c.GA
		}
		k, err := secret(t, own).Agree(KnownGroup(), peer)
		if err != nil || !bytes.Equal(k.Bytes(), c.Key) || k.Fingerprint() != fingerprint(t, c.Fingerprint) {
			t.Errorf("case %d: the key is another one (%v)", i, err)
		}
	}
}

type tdlibMessage struct {
	From        string
	Key         hexBytes
	Fingerprint string `json:"key_fingerprint"`
	X           int
	Data        hexBytes
	MsgKey      hexBytes `json:"msg_key"`
	AESKey      hexBytes `json:"aes_key"`
	AESIV       hexBytes `json:"aes_iv"`
	Plain       hexBytes `json:"plain_with_length_and_padding"`
	Padding     int
	Layer       int
	InSeq       int `json:"in_seq_no"`
	OutSeq      int `json:"out_seq_no"`
	Action      string
	Text        string
	TTL         int
	Media       *string
	MediaKey    hexBytes `json:"media_key"`
	MediaIV     hexBytes `json:"media_iv"`
	Size        int64
	Caption     string
}

func (m *tdlibMessage) side() Side { return Side(m.X / 8) }

func tdlibMessages(t *testing.T) []tdlibMessage {
	v := read[struct {
		About string
		Cases []tdlibMessage
	}](t, "tdlib_messages.json")
	if len(v.Cases) != 32 {
		t.Fatalf("%d messages, want 32", len(v.Cases))
	}
	return v.Cases
}

func TestVectorsMessages(t *testing.T) {
	for i, c := range tdlibMessages(t) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			k := key(t, c.Key)
			if f, err := Under(c.Data); err != nil || f != fingerprint(t, c.Fingerprint) || f != k.Fingerprint() {
				t.Fatalf("fingerprint: got %d, %v, want %s", f, err, c.Fingerprint)
			}
			body, err := Open(k, c.side(), c.Data)
			if err != nil {
				t.Fatal(err)
			}
			if want := c.Plain[4 : len(c.Plain)-c.Padding]; !bytes.Equal(body, want) {
				t.Errorf("opened: got %x, want %x", body, []byte(want))
			}
			if got := padded(4 + len(body)); got != len(c.Plain) {
				t.Errorf("padded size: got %d, want %d", got, len(c.Plain))
			}
			packet := append(make([]byte, headSize), c.Plain...)
			if err := sealPadded(k, c.X, packet); err != nil || !bytes.Equal(packet, c.Data) {
				t.Errorf("sealed again: got other bytes (%v)", err)
			}
			h, m, err := Parse(body)
			if err != nil {
				t.Fatal(err)
			}
			if want := (Header{c.Layer, c.InSeq, c.OutSeq}); h != want {
				t.Errorf("header: got %+v, want %+v", h, want)
			}
			checkContent(t, c, m)
			// The other way: the same object gives the same bytes.
			if again, err := Marshal(bytes.NewReader(body[5:5+randomBytes]), h, m); err != nil || !bytes.Equal(again, body) {
				t.Errorf("serialized again: got %x (%v), want %x", again, err, body)
			}
		})
	}
}

func checkContent(t *testing.T, c tdlibMessage, m schema.Message) {
	t.Helper()
	name := func(v any) string { return strings.TrimPrefix(fmt.Sprintf("%T", v), "*schema.") }
	switch m := m.(type) {
	case *schema.DecryptedMessageService:
		if name(m.Action) != c.Action {
			t.Errorf("action: got %s, want %s", name(m.Action), c.Action)
		}
	case *schema.DecryptedMessage:
		if m.Message != c.Text || m.TTL != c.TTL {
			t.Errorf("text: got %q, ttl %d, want %q, %d", m.Message, m.TTL, c.Text, c.TTL)
		}
		if c.Media == nil {
			if m.Media != nil {
				t.Errorf("media: got %s, want none", name(m.Media))
			}
			return
		}
		if name(m.Media) != *c.Media {
			t.Fatalf("media: got %s, want %s", name(m.Media), *c.Media)
		}
		if d, ok := m.Media.(*schema.DecryptedMessageMediaDocument); ok {
			if !bytes.Equal(d.Key, c.MediaKey) || !bytes.Equal(d.IV, c.MediaIV) || d.Size != c.Size || d.Caption != c.Caption {
				t.Errorf("document: got %d bytes, %q, want %d, %q", d.Size, d.Caption, c.Size, c.Caption)
			}
		}
	default:
		t.Errorf("a message of another kind: %T", m)
	}
}

func TestVectorsFiles(t *testing.T) {
	v := read[struct {
		About string
		Cases []struct {
			Key           hexBytes
			IV            hexBytes
			Fingerprint   int32 `json:"fingerprint_sent_by_tdlib"`
			Size          int64
			Ciphertext    hexBytes
			CiphertextLen int `json:"ciphertext_len"`
			Plaintext     hexBytes
			Caption       string
		}
	}](t, "tdlib_files.json")
	if len(v.Cases) != 3 {
		t.Fatalf("%d files, want 3", len(v.Cases))
	}
	for _, c := range v.Cases {
		k, err := ParseFileKey(c.Key, c.IV)
		if err != nil {
			t.Fatal(err)
		}
		if k.Fingerprint() != c.Fingerprint {
			t.Errorf("%s: fingerprint: got %d, want %d", c.Caption, k.Fingerprint(), c.Fingerprint)
		}
		if got := SealedFileSize(c.Size); got != int64(len(c.Ciphertext)) || c.CiphertextLen != len(c.Ciphertext) {
			t.Errorf("%s: sealed size: got %d, want %d", c.Caption, got, len(c.Ciphertext))
		}
		var open bytes.Buffer
		if err := k.Open(&open, bytes.NewReader(c.Ciphertext), c.Size, c.Fingerprint); err != nil || !bytes.Equal(open.Bytes(), c.Plaintext) {
			t.Errorf("%s: opened %d bytes, %v", c.Caption, open.Len(), err)
		}
	}
}
