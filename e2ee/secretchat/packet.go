package secretchat

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta/internal/ige"
)

// Errors of packets.
var (
	// ErrPacket: the packet is too short or not whole blocks, which anyone
	// can see.
	ErrPacket = errors.New("secretchat: this is not a packet")
	// ErrOtherKey: the packet names another key.
	ErrOtherKey = errors.New("secretchat: the packet is under another key")
	// ErrTampered: the packet does not open. It never says which of its checks
	// failed.
	ErrTampered = errors.New("secretchat: the packet is not authentic")
	// ErrTooLong: the message is longer than a packet may be.
	ErrTooLong = errors.New("secretchat: the message is too long")
)

// A Side is one of the two people of a chat.
type Side int

// The sides. The keys of a packet depend on who sent it.
const (
	// Creator asked for the chat.
	Creator Side = 0
	// Other accepted it.
	Other Side = 1
)

// Peer is the other side.
func (s Side) Peer() Side { return 1 - s }

// x is the offset into the key, of "Serialization and Encryption of Outgoing
// Messages".
func (s Side) x() int { return int(s) * 8 }

const (
	headSize   = 8 + 16 // fingerprint, msg_key
	minPadding = 12
	maxPadding = 1024
	// MaxBody is the length of the longest message in bytes.
	MaxBody = 1 << 20
)

// keys derives the key and the chain of one packet, for MTProto 2.0.
func (k *Key) keys(x int, msgKey []byte) (key [32]byte, iv ige.Chain) {
	s := k.box.Open()
	var buf [16 + 36]byte
	copy(buf[:], msgKey)
	copy(buf[16:], s[x:x+36])
	a := sha256.Sum256(buf[:])
	copy(buf[:], s[40+x:76+x])
	copy(buf[36:], msgKey)
	b := sha256.Sum256(buf[:])
	clear(buf[:])
	copy(key[:], a[:8])
	copy(key[8:], b[8:24])
	copy(key[24:], a[24:])
	copy(iv[:], b[:8])
	copy(iv[8:], a[8:24])
	copy(iv[24:], b[24:])
	return key, iv
}

// msgKey is the key of one packet, over all that is encrypted.
func (k *Key) msgKey(x int, data []byte) [16]byte {
	h := sha256.New()
	h.Write(k.box.Open()[88+x : 120+x])
	h.Write(data)
	return [16]byte(h.Sum(nil)[8:24])
}

// padded is the length to which n bytes are padded: with at least 12 bytes to
// 64, 128, 192, 256, 384, 512, 768, 1024 or 1280, and then in steps of 448.
// TDLib has the same sizes, and an observer sees nothing finer.
func padded(n int) int {
	n += minPadding
	for _, step := range []int{64, 128, 192, 256, 384, 512, 768, 1024, 1280} {
		if n <= step {
			return step
		}
	}
	return 1280 + (n-1280+447)/448*448
}

// Seal encrypts a serialized message into a packet: fingerprint, msg_key,
// ciphertext. The bytes of padding come from rand. Two calls never give the
// same packet, so what may be sent twice is kept.
func Seal(rand io.Reader, k *Key, from Side, body []byte) ([]byte, error) {
	if len(body) > MaxBody || len(body)%4 != 0 {
		return nil, ErrTooLong
	}
	packet := make([]byte, headSize+padded(4+len(body)))
	data := packet[headSize:]
	binary.LittleEndian.PutUint32(data, uint32(len(body)))
	copy(data[4:], body)
	if _, err := io.ReadFull(rand, data[4+len(body):]); err != nil {
		clear(packet)
		return nil, fmt.Errorf("secretchat: drawing padding: %w", err)
	}
	if err := sealPadded(k, from.x(), packet); err != nil {
		clear(packet)
		return nil, err
	}
	return packet, nil
}

// SealPadded encrypts data that is padded already, whole blocks of 16 bytes,
// into a packet. MTProto's own messages between client and server have the same
// outer form, with the client as the Creator.
func SealPadded(k *Key, from Side, data []byte) ([]byte, error) {
	if len(data)%16 != 0 {
		return nil, ErrPacket
	}
	packet := append(make([]byte, headSize, headSize+len(data)), data...)
	return packet, sealPadded(k, from.x(), packet)
}

// OpenPadded is the reverse of SealPadded. It checks msg_key and nothing else of
// the data.
func OpenPadded(k *Key, from Side, packet []byte) ([]byte, error) {
	data, ok, err := unseal(k, from, packet, aes.NewCipher)
	if err == nil && ok != 1 {
		clear(data)
		return nil, ErrTampered
	}
	return data, err
}

// sealPadded encrypts what is behind the head of packet in place.
func sealPadded(k *Key, x int, packet []byte) error {
	data := packet[headSize:]
	msgKey := k.msgKey(x, data)
	key, iv := k.keys(x, msgKey[:])
	defer clear(key[:])
	b, err := aes.NewCipher(key[:])
	if err != nil {
		return err
	}
	ige.Encrypt(b, &iv, data, data)
	binary.LittleEndian.PutUint64(packet, uint64(k.Fingerprint()))
	copy(packet[8:], msgKey[:])
	return nil
}

// Under returns the fingerprint of the key that a packet names, or ErrPacket.
func Under(packet []byte) (fingerprint int64, err error) {
	if len(packet) < headSize+16 || (len(packet)-headSize)%16 != 0 || len(packet) > headSize+padded(4+MaxBody) {
		return 0, ErrPacket
	}
	return int64(binary.LittleEndian.Uint64(packet)), nil
}

// Open decrypts a packet that from sealed. Whatever is wrong with what is
// encrypted gives ErrTampered after the same work: the length is looked at
// only together with the verdict on msg_key.
func Open(k *Key, from Side, packet []byte) ([]byte, error) {
	return open(k, from, packet, aes.NewCipher)
}

func open(k *Key, from Side, packet []byte, newCipher func([]byte) (cipher.Block, error)) ([]byte, error) {
	data, ok, err := unseal(k, from, packet, newCipher)
	if err != nil {
		return nil, err
	}
	n := int(int32(binary.LittleEndian.Uint32(data)))
	rest := len(data) - 4 - n
	ok &= within(n, 0, len(data)) & within(n%4, 0, 0) & within(rest, minPadding, maxPadding)
	if ok != 1 {
		clear(data)
		return nil, ErrTampered
	}
	return data[4 : 4+n : 4+n], nil
}

// unseal decrypts a packet; ok is 1 if msg_key is that of the data. Nothing of
// the data may show before that was looked at.
func unseal(k *Key, from Side, packet []byte, newCipher func([]byte) (cipher.Block, error)) (data []byte, ok int, err error) {
	switch f, err := Under(packet); {
	case err != nil:
		return nil, 0, err
	case f != k.Fingerprint():
		return nil, 0, ErrOtherKey
	}
	msgKey := packet[8:headSize]
	key, iv := k.keys(from.x(), msgKey)
	defer clear(key[:])
	b, err := newCipher(key[:])
	if err != nil {
		return nil, 0, err
	}
	data = make([]byte, len(packet)-headSize)
	ige.Decrypt(b, &iv, data, packet[headSize:])
	want := k.msgKey(from.x(), data)
	return data, subtle.ConstantTimeCompare(want[:], msgKey), nil
}

// within is 1 if low <= n <= high, else 0, without a branch.
func within(n, low, high int) int {
	return subtle.ConstantTimeLessOrEq(low, n&0x7fffffff) & subtle.ConstantTimeLessOrEq(n&0x7fffffff, high) & (1 ^ int(uint64(n)>>63))
}

// keysV1 derives the key and the chain of one packet of MTProto 1.0. The
// offset is 0 in both directions.
func (k *Key) keysV1(msgKey []byte) (key [32]byte, iv ige.Chain) {
	s := k.box.Open()
	sum := func(parts ...[]byte) []byte {
		h := sha1.New()
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	a, b := sum(msgKey, s[:32]), sum(s[32:48], msgKey, s[48:64])
	c, d := sum(s[64:96], msgKey), sum(msgKey, s[96:128])
	copy(key[:], a[:8])
	copy(key[8:], b[8:20])
	copy(key[20:], c[4:16])
	copy(iv[:], a[8:20])
	copy(iv[12:], b[:8])
	copy(iv[20:], c[16:20])
	copy(iv[24:], d[:8])
	return key, iv
}

// OpenV1 decrypts a packet of MTProto 1.0. That form is weak: the padding is
// not authenticated, nothing says which side sent it, and its length is used
// before it is verified. It is for reading what a peer sent before an upgrade,
// where a user chose that; nothing here writes it.
func OpenV1(k *Key, packet []byte) ([]byte, error) {
	switch f, err := Under(packet); {
	case err != nil:
		return nil, err
	case f != k.Fingerprint():
		return nil, ErrOtherKey
	}
	msgKey := packet[8:headSize]
	key, iv := k.keysV1(msgKey)
	defer clear(key[:])
	b, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	data := make([]byte, len(packet)-headSize)
	ige.Decrypt(b, &iv, data, packet[headSize:])
	n := int(int32(binary.LittleEndian.Uint32(data)))
	fits := within(n, 0, len(data)-4) & within(n%4, 0, 0) & within(len(data)-4-n, 0, 15)
	covered := subtle.ConstantTimeSelect(fits, n+4, len(data))
	h := sha1.Sum(data[:covered])
	if subtle.ConstantTimeCompare(h[4:20], msgKey)&fits != 1 {
		clear(data)
		return nil, ErrTampered
	}
	return data[4:covered:covered], nil
}
