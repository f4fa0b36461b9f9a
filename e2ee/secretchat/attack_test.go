package secretchat

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/secretchat/schema"

	"github.com/quinta-chat/quinta/internal/ige"
)

// The numbers are those of the list of attacks in doc/security.md.

// TestAttack01BadGroup refuses weak primes and generators, and judges by value:
// each group is tested once, also if it comes again and again.
func TestAttack01BadGroup(t *testing.T) {
	var judge Verdicts
	p := KnownGroup().P()
	for _, g := range []int{-1, 0, 1, 2, 5, 8, 1 << 30} {
		if _, err := judge.Group(rand.Reader, g, p); !errors.Is(err, ErrWeakGroup) {
			t.Errorf("g = %d: got %v, want %v", g, err, ErrWeakGroup)
		}
	}
	if _, err := judge.Group(rand.Reader, 3, p); err != nil {
		t.Errorf("the known prime: %v", err)
	}
	if judge.tests != 0 {
		t.Errorf("the known prime was tested %d times, want 0: it is compared", judge.tests)
	}
	// A prime that is not a safe one, of the right form for g = 4.
	weak := new(big.Int).SetBytes(p)
	for weak.Add(weak, big.NewInt(4)); !weak.ProbablyPrime(0); weak.Add(weak, big.NewInt(4)) {
	}
	for range 3 {
		if _, err := judge.Group(rand.Reader, 4, weak.Bytes()); !errors.Is(err, ErrWeakGroup) {
			t.Fatalf("a prime that is not safe: got %v", err)
		}
	}
	if judge.tests != 1 {
		t.Errorf("one bad prime was tested %d times, want once", judge.tests)
	}
	// One bit of the known prime changed is another prime: nothing is inherited.
	p[100] ^= 1
	if _, err := judge.Group(rand.Reader, 3, p); !errors.Is(err, ErrWeakGroup) {
		t.Errorf("a changed prime: got %v", err)
	}
}

// TestAttack02DegeneratePublic refuses public values that give a guessable key.
func TestAttack02DegeneratePublic(t *testing.T) {
	g := KnownGroup()
	s, err := NewSecret(rand.Reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := new(big.Int).SetBytes(g.P())
	for _, v := range []*big.Int{big.NewInt(0), big.NewInt(1), big.NewInt(2), new(big.Int).Sub(p, big.NewInt(1)), p, new(big.Int).Add(p, big.NewInt(2)), new(big.Int).Lsh(p, 8)} {
		if _, err := s.Agree(g, v.Bytes()); !errors.Is(err, ErrWeakPublic) {
			t.Errorf("a value of %d bits: got %v, want %v", v.BitLen(), err, ErrWeakPublic)
		}
	}
}

// TestAttack04ServerRandomness shows that what a server gives is never used
// alone: it is mixed by XOR, and of no other length.
func TestAttack04ServerRandomness(t *testing.T) {
	local := bytes.Repeat([]byte{0x5a}, Size)
	server := bytes.Repeat([]byte{0xff}, Size)
	s, err := NewSecret(bytes.NewReader(local), server)
	if err != nil {
		t.Fatal(err)
	}
	if want := bytes.Repeat([]byte{0xa5}, Size); !bytes.Equal(s.Bytes(), want) {
		t.Errorf("got %x, want the XOR of both", s.Bytes()[:4])
	}
	if _, err := NewSecret(bytes.NewReader(local), server[:255]); err == nil {
		t.Error("255 bytes of a server were taken")
	}
	if _, err := NewSecret(bytes.NewReader(nil), server); err == nil {
		t.Error("without local randomness there was a secret")
	}
}

// TestAttack05WholeHash shows that a key with the same fingerprint still has
// another picture: all 36 bytes are compared, and drawn.
func TestAttack05WholeHash(t *testing.T) {
	a := Hash{}
	for i := range a {
		b := a
		b[i] ^= 0x40
		if a.Picture() == b.Picture() {
			t.Errorf("byte %d of the hash is not in the picture", i)
		}
	}
	// One square of each value, low bits first.
	h := Hash{0b11_10_01_00}
	if p := h.Picture(); p[0][0] != 0 || p[0][1] != 1 || p[0][2] != 2 || p[0][3] != 3 {
		t.Errorf("first row: got %v, want 0 1 2 3", p[0])
	}
}

// sealed is a packet with its key, for changes.
func sealed(t *testing.T, from Side) (*Key, []byte) {
	t.Helper()
	var raw [Size]byte
	if _, err := rand.Read(raw[:]); err != nil {
		t.Fatal(err)
	}
	k := key(t, raw[:])
	packet, err := Seal(rand.Reader, k, from, []byte("four bytes and four."))
	if err != nil {
		t.Fatal(err)
	}
	return k, packet
}

// TestAttack07Malleability refuses each changed bit, each lengthened or cut
// packet and a replaced last block.
func TestAttack07Malleability(t *testing.T) {
	k, packet := sealed(t, Creator)
	for i := range len(packet) * 8 {
		bad := bytes.Clone(packet)
		bad[i/8] ^= 1 << (i % 8)
		want := ErrTampered
		if i < 64 {
			want = ErrOtherKey
		}
		if _, err := Open(k, Creator, bad); !errors.Is(err, want) {
			t.Fatalf("bit %d changed: got %v, want %v", i, err, want)
		}
	}
	longer := append(bytes.Clone(packet), make([]byte, 16)...)
	shorter := packet[:len(packet)-16]
	replaced := append(bytes.Clone(shorter), bytes.Repeat([]byte{7}, 16)...)
	for name, bad := range map[string][]byte{"longer": longer, "shorter": shorter, "last block replaced": replaced} {
		if _, err := Open(k, Creator, bad); !errors.Is(err, ErrTampered) {
			t.Errorf("%s: got %v, want %v", name, err, ErrTampered)
		}
	}
}

// counting is a cipher that counts its blocks.
type counting struct {
	cipher.Block
	blocks *int
}

func (c counting) Decrypt(dst, src []byte) { *c.blocks++; c.Block.Decrypt(dst, src) }

// crafted is an authentic packet over any plaintext, which a peer could make.
func crafted(t *testing.T, k *Key, from Side, plain []byte) []byte {
	t.Helper()
	packet := append(make([]byte, headSize), plain...)
	if err := sealPadded(k, from.x(), packet); err != nil {
		t.Fatal(err)
	}
	return packet
}

// TestAttack08OneFailure shows that all failures behind the public checks are
// one error after the same number of blocks.
func TestAttack08OneFailure(t *testing.T) {
	k, good := sealed(t, Creator)
	lying := func(n uint32) []byte {
		plain := make([]byte, len(good)-headSize)
		binary.LittleEndian.PutUint32(plain, n)
		return crafted(t, k, Creator, plain)
	}
	size := uint32(len(good) - headSize)
	flipped := bytes.Clone(good)
	flipped[headSize] ^= 1
	cases := map[string][]byte{
		"negative length": lying(1 << 31), "length -4": lying(^uint32(3)), "length beyond": lying(size), "largest length": lying(1<<31 - 4),
		"odd length": lying(13), "eleven bytes of padding": lying(size - 4 - 8), "no padding": lying(size - 4), "changed": flipped,
	}
	for name, packet := range cases {
		blocks := 0
		_, err := open(k, Creator, packet, func(key []byte) (cipher.Block, error) {
			b, err := aes.NewCipher(key)
			return counting{b, &blocks}, err
		})
		if err != ErrTampered {
			t.Errorf("%s: got %v, want exactly %v", name, err, ErrTampered)
		}
		if want := (len(packet) - headSize) / 16; blocks != want {
			t.Errorf("%s: %d blocks, want %d", name, blocks, want)
		}
	}
	// The limits of padding themselves.
	for padding, ok := range map[int]bool{8: false, 12: true, 1024: true, 1028: false} {
		n := (16 - (4+padding)%16) % 16
		plain := make([]byte, 4+n+padding)
		binary.LittleEndian.PutUint32(plain, uint32(n))
		if _, err := Open(k, Creator, crafted(t, k, Creator, plain)); (err == nil) != ok {
			t.Errorf("%d bytes of padding: got %v, want ok %v", padding, err, ok)
		}
	}
}

// TestAttack09ReflectedPacket refuses one's own packet as the peer's.
func TestAttack09ReflectedPacket(t *testing.T) {
	for _, from := range []Side{Creator, Other} {
		k, packet := sealed(t, from)
		if _, err := Open(k, from.Peer(), packet); !errors.Is(err, ErrTampered) {
			t.Errorf("side %d: got %v, want %v", from, err, ErrTampered)
		}
	}
}

// TestAttack16WrongFile refuses another key, and each false size.
func TestAttack16WrongFile(t *testing.T) {
	k, err := NewFileKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewFileKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{0, 1, 15, 16, 17, filePiece - 1, filePiece, filePiece + 1, 3*filePiece + 5} {
		plain := make([]byte, size)
		r, err := k.Seal(rand.Reader, bytes.NewReader(plain))
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := io.ReadAll(r)
		if err != nil || int64(len(sealed)) != SealedFileSize(size) {
			t.Fatalf("size %d: sealed %d bytes, %v", size, len(sealed), err)
		}
		var out bytes.Buffer
		if err := k.Open(&out, bytes.NewReader(sealed), size, k.Fingerprint()); err != nil || !bytes.Equal(out.Bytes(), plain) {
			t.Errorf("size %d: got %d bytes, %v", size, out.Len(), err)
		}
		out.Reset()
		if err := k.Open(&out, bytes.NewReader(sealed), size, other.Fingerprint()); !errors.Is(err, ErrFileKey) || out.Len() != 0 {
			t.Errorf("size %d, fingerprint of another key: got %v and %d bytes", size, err, out.Len())
		}
		for _, lie := range []int64{-1, SealedFileSize(size) - 16, SealedFileSize(size) + 1, 1 << 40} {
			if lie == size {
				continue
			}
			if err := k.Open(io.Discard, bytes.NewReader(sealed), lie, k.Fingerprint()); !errors.Is(err, ErrFileSize) {
				t.Errorf("size %d, said to be %d: got %v, want %v", size, lie, err, ErrFileSize)
			}
		}
		if size > 0 {
			if err := k.Open(io.Discard, bytes.NewReader(sealed[:len(sealed)-1]), size, k.Fingerprint()); !errors.Is(err, ErrFileSize) {
				t.Errorf("size %d, cut by a byte: got %v, want %v", size, err, ErrFileSize)
			}
		}
	}
}

// body serializes a message for the tests.
func body(t testing.TB, h Header, m schema.Message) []byte {
	t.Helper()
	b, err := Marshal(rand.Reader, h, m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func serialized(t testing.TB, m schema.Message) []byte {
	t.Helper()
	b, err := schema.Objects.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestAttack17HostileObjects refuses counts and lengths beyond the message,
// unknown constructors and trailing bytes, without reserving what they claim.
func TestAttack17HostileObjects(t *testing.T) {
	good := body(t, Header{Layer: 144, OutSeq: 1}, &schema.DecryptedMessageService{RandomID: 1, Action: &schema.DecryptedMessageActionReadMessages{RandomIDs: []int64{1}}})
	if _, _, err := Parse(good); err != nil {
		t.Fatal(err)
	}
	count := bytes.Clone(good)
	binary.LittleEndian.PutUint32(count[len(count)-12:], 1<<31-1)
	unknown := bytes.Clone(good)
	binary.LittleEndian.PutUint32(unknown[len(unknown)-20:], 0xdeadbeef)
	short := body(t, Header{Layer: 144, OutSeq: 1}, &schema.DecryptedMessage{Message: "x"})
	long := bytes.Clone(short)
	long[len(long)-4] = 253
	cases := map[string][]byte{
		"count of 2^31-1": count, "unknown action": unknown, "trailing": append(bytes.Clone(good), 0, 0, 0, 0), "string beyond the end": long,
		"empty": nil, "no header": good[4:],
	}
	for i := 4; i < len(good); i += 4 {
		cases[fmt.Sprint("cut at ", i)] = good[:i]
	}
	for name, b := range cases {
		if n := testing.AllocsPerRun(1, func() { Parse(b) }); n > 100 {
			t.Errorf("%s: %v allocations", name, n)
		}
		if _, _, err := Parse(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, want %v", name, err, ErrMalformed)
		}
	}
	fewRandom, err := schema.Objects.Marshal(&schema.DecryptedMessageLayer{RandomBytes: make([]byte, 14), Layer: 73, Message: serialized(t, &schema.DecryptedMessage{})})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Parse(fewRandom); !errors.Is(err, ErrMalformed) {
		t.Errorf("14 random bytes: got %v", err)
	}
	for _, layer := range []int{145, 1<<31 - 1} {
		h, _, err := Parse(body(t, Header{Layer: layer, OutSeq: 5}, &schema.DecryptedMessage{}))
		if !errors.Is(err, ErrNewer) || h.OutSeq != 5 {
			t.Errorf("layer %d: got %v, %+v, want %v with the header", layer, err, h, ErrNewer)
		}
	}
}

// TestAttack18Splice refuses the packet of another chat.
func TestAttack18Splice(t *testing.T) {
	k, _ := sealed(t, Creator)
	_, packet := sealed(t, Creator)
	if _, err := Open(k, Creator, packet); !errors.Is(err, ErrOtherKey) {
		t.Errorf("another chat's packet: got %v, want %v", err, ErrOtherKey)
	}
	binary.LittleEndian.PutUint64(packet, uint64(k.Fingerprint()))
	if _, err := Open(k, Creator, packet); !errors.Is(err, ErrTampered) {
		t.Errorf("with the fingerprint of this one: got %v, want %v", err, ErrTampered)
	}
}

// TestAttack20Sizes holds the steps of size, which are all that an observer
// sees.
func TestAttack20Sizes(t *testing.T) {
	k, _ := sealed(t, Other)
	steps := map[int]bool{}
	for _, s := range []int{64, 128, 192, 256, 384, 512, 768, 1024, 1280, 1728, 2176} {
		steps[s+headSize] = true
	}
	for n := 0; n < 2100; n += 4 {
		packet, err := Seal(rand.Reader, k, Other, make([]byte, n))
		if err != nil {
			t.Fatal(err)
		}
		if !steps[len(packet)] {
			t.Errorf("%d bytes make a packet of %d", n, len(packet))
		}
		if got, err := Open(k, Other, packet); err != nil || len(got) != n {
			t.Errorf("%d bytes: opened %d, %v", n, len(got), err)
		}
	}
	for _, n := range []int{3, MaxBody + 4} {
		if _, err := Seal(rand.Reader, k, Other, make([]byte, n)); !errors.Is(err, ErrTooLong) {
			t.Errorf("%d bytes: got %v, want %v", n, err, ErrTooLong)
		}
	}
}

// TestAttack08Padding: authentic packets whose length leaves too little or too
// much padding, or is none, are refused as any other. The seal is right in all
// of them.
func TestAttack08Padding(t *testing.T) {
	k, _ := sealed(t, Other)
	for length, want := range map[int]error{32: nil, 48: nil, 52: ErrTampered, 60: ErrTampered, 64: ErrTampered, 30: ErrTampered, -4: ErrTampered, 1 << 30: ErrTampered} {
		data := make([]byte, 64)
		binary.LittleEndian.PutUint32(data, uint32(length))
		packet, err := SealPadded(k, Other, data)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(k, Other, packet); !errors.Is(err, want) {
			t.Errorf("length %d: got %v, want %v", length, err, want)
		}
	}
	data := make([]byte, 2048)
	packet, err := SealPadded(k, Other, data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(k, Other, packet); !errors.Is(err, ErrTampered) {
		t.Errorf("%d bytes of padding: got %v, want %v", len(data)-4, err, ErrTampered)
	}
}

// sealV1 is the writing half of MTProto 1.0, which the package does not have.
func sealV1(t *testing.T, k *Key, plain []byte, padding int) []byte {
	t.Helper()
	data := binary.LittleEndian.AppendUint32(nil, uint32(len(plain)))
	data = append(data, plain...)
	h := sha1.Sum(data)
	msgKey := h[4:20]
	data = append(data, make([]byte, padding)...)
	ak, iv := k.keysV1(msgKey)
	b, err := aes.NewCipher(ak[:])
	if err != nil {
		t.Fatal(err)
	}
	ige.Encrypt(b, &iv, data, data)
	packet := binary.LittleEndian.AppendUint64(nil, uint64(k.Fingerprint()))
	return append(append(packet, msgKey...), data...)
}

// TestAttack13OldForm shows that neither form opens as the other.
func TestAttack13OldForm(t *testing.T) {
	k, now := sealed(t, Creator)
	old := sealV1(t, k, []byte("twelve bytes"), 0)
	if got, err := OpenV1(k, old); err != nil || string(got) != "twelve bytes" {
		t.Errorf("MTProto 1.0: got %q, %v", got, err)
	}
	if _, err := Open(k, Creator, old); !errors.Is(err, ErrTampered) {
		t.Errorf("MTProto 1.0 as 2.0: got %v", err)
	}
	if _, err := OpenV1(k, now); !errors.Is(err, ErrTampered) {
		t.Errorf("MTProto 2.0 as 1.0: got %v", err)
	}
	if _, err := OpenV1(k, sealV1(t, k, []byte("twelve bytes"), 16)); !errors.Is(err, ErrTampered) {
		t.Errorf("16 bytes of padding: got %v", err)
	}
}

// TestSecretsDoNotPrint prints each secret every way.
func TestSecretsDoNotPrint(t *testing.T) {
	raw := bytes.Repeat([]byte{0xab}, Size)
	k, s := key(t, raw), secret(t, raw)
	f, err := ParseFileKey(raw[:32], raw[:32])
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{k, s, f} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			if got := fmt.Sprintf(verb, v); strings.Contains(strings.ToLower(got), "abab") || strings.Contains(got, "171") {
				t.Errorf("%s of %T shows the secret", verb, v)
			}
		}
	}
	k.Wipe()
	s.Wipe()
	if !bytes.Equal(k.Bytes(), make([]byte, Size)) || !bytes.Equal(s.Bytes(), make([]byte, Size)) {
		t.Error("a wiped secret is still there")
	}
}
