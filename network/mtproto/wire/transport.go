package wire

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"slices"
	"sync"
)

// MaxFrame is the length of the longest packet on a connection in bytes.
const MaxFrame = 1<<20 + 4096

// ErrFrame: the bytes are not a packet in the connection's framing.
var ErrFrame = errors.New("mtproto: malformed frame")

// A Framing is how packets are delimited on a connection. "MTProto transports".
type Framing int

// The framings.
const (
	Abridged Framing = iota + 1
	Intermediate
	Padded
	Full
)

// The tags with which a connection begins; Full has none.
var (
	tagIntermediate = []byte{0xee, 0xee, 0xee, 0xee}
	tagPadded       = []byte{0xdd, 0xdd, 0xdd, 0xdd}
	tagAbridged     = []byte{0xef, 0xef, 0xef, 0xef}
)

// A Frames is one connection with its framing. One goroutine reads; Write may
// be called by several.
type Frames struct {
	conn    net.Conn
	r       io.Reader
	framing Framing
	// DC is the number that the client gave: 0 if none, above 10000 for a test
	// client, negative for media.
	DC int

	mu  sync.Mutex
	w   io.Writer
	out uint32 // sequence number of Full
	in  uint32
}

// Framing is that of the connection.
func (f *Frames) Framing() Framing { return f.framing }

// Close closes the connection.
func (f *Frames) Close() error { return f.conn.Close() }

// Conn is the connection below.
func (f *Frames) Conn() net.Conn { return f.conn }

// AcceptObfuscated begins a connection with a client that must use
// obfuscation, as over a websocket.
func AcceptObfuscated(conn net.Conn) (*Frames, error) {
	f := &Frames{conn: conn, w: conn}
	return f, f.obfuscated(bufio.NewReaderSize(conn, 4096))
}

// Accept finds out with which framing a client begins, and whether it is
// obfuscated. It reads at most 64 bytes.
func Accept(conn net.Conn) (*Frames, error) {
	r := bufio.NewReaderSize(conn, 4096)
	f := &Frames{conn: conn, r: r, w: conn}
	first, err := r.Peek(1)
	if err != nil {
		return nil, err
	}
	if first[0] == 0xef {
		f.framing = Abridged
		_, err = r.Discard(1)
		return f, err
	}
	head, err := r.Peek(8)
	if err != nil {
		return nil, err
	}
	switch {
	case bytes.Equal(head[:4], tagIntermediate), bytes.Equal(head[:4], tagPadded):
		f.framing = Intermediate
		if head[0] == 0xdd {
			f.framing = Padded
		}
		_, err = r.Discard(4)
		return f, err
	case binary.LittleEndian.Uint32(head[4:]) == 0:
		f.framing = Full // length, then its first sequence number
		return f, nil
	}
	return f, f.obfuscated(r)
}

// obfuscated reads the 64 bytes of an obfuscated client.
func (f *Frames) obfuscated(r io.Reader) error {
	var h [64]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return err
	}
	in, out, err := streams(h)
	if err != nil {
		return err
	}
	in.XORKeyStream(h[:], h[:])
	switch tag := h[56:60]; {
	case bytes.Equal(tag, tagIntermediate):
		f.framing = Intermediate
	case bytes.Equal(tag, tagPadded):
		f.framing = Padded
	case bytes.Equal(tag, tagAbridged):
		f.framing = Abridged
	default:
		return ErrFrame
	}
	f.DC = int(int16(binary.LittleEndian.Uint16(h[60:])))
	f.r = cipher.StreamReader{S: in, R: r}
	f.w = &cipher.StreamWriter{S: out, W: f.conn}
	return nil
}

// streams makes the two streams of a header: from the client, and to it.
func streams(h [64]byte) (from, to cipher.Stream, err error) {
	one, err := aes.NewCipher(h[8:40])
	if err != nil {
		return nil, nil, err
	}
	back := slices.Clone(h[8:56])
	slices.Reverse(back)
	two, err := aes.NewCipher(back[:32])
	if err != nil {
		return nil, nil, err
	}
	return cipher.NewCTR(one, h[40:56]), cipher.NewCTR(two, back[32:48]), nil
}

// Dial begins a connection as a client: obfuscated, with the intermediate
// framing, for a DC of that number.
func Dial(conn net.Conn, rand io.Reader, dc int) (*Frames, error) {
	var h [64]byte
	for {
		if _, err := io.ReadFull(rand, h[:]); err != nil {
			return nil, fmt.Errorf("mtproto: drawing a header: %w", err)
		}
		if !reserved(h[:8]) {
			break
		}
	}
	copy(h[56:], tagIntermediate)
	binary.LittleEndian.PutUint16(h[60:], uint16(int16(dc)))
	to, from, err := streams(h)
	if err != nil {
		return nil, err
	}
	sealed := h
	to.XORKeyStream(sealed[:], h[:])
	copy(h[56:], sealed[56:])
	if _, err := conn.Write(h[:]); err != nil {
		return nil, err
	}
	return &Frames{conn: conn, framing: Intermediate, DC: dc, r: cipher.StreamReader{S: from, R: bufio.NewReader(conn)}, w: &cipher.StreamWriter{S: to, W: conn}}, nil
}

// reserved reports whether a header begins like something else.
func reserved(h []byte) bool {
	switch string(h[:4]) {
	case "HEAD", "POST", "GET ", "OPTI", "\x16\x03\x01\x02", string(tagIntermediate), string(tagPadded):
		return true
	}
	return h[0] == 0xef || bytes.Equal(h[4:8], make([]byte, 4))
}

// Read returns the next packet. ack is not 0 if the client wants a quick
// acknowledgement. A packet of 4 bytes is an error code.
func (f *Frames) Read() (packet []byte, ack bool, err error) {
	var n int
	switch f.framing {
	case Abridged:
		var b [4]byte
		if _, err := io.ReadFull(f.r, b[:1]); err != nil {
			return nil, false, err
		}
		ack = b[0]&0x80 != 0
		n = int(b[0]&0x7f) * 4
		if b[0]&0x7f == 0x7f {
			if _, err := io.ReadFull(f.r, b[:3]); err != nil {
				return nil, false, err
			}
			n = int(binary.LittleEndian.Uint32(b[:])) * 4
		}
	case Full:
		packet, err := f.readFull()
		return packet, false, err
	default:
		var b [4]byte
		if _, err := io.ReadFull(f.r, b[:]); err != nil {
			return nil, false, err
		}
		v := binary.LittleEndian.Uint32(b[:])
		ack, n = v&(1<<31) != 0, int(v&^(1<<31))
	}
	if n < 4 || n > MaxFrame || f.framing != Padded && n%4 != 0 {
		return nil, false, ErrFrame
	}
	packet = make([]byte, n)
	if _, err := io.ReadFull(f.r, packet); err != nil {
		return nil, false, err
	}
	if f.framing == Padded {
		packet = unpad(packet)
	}
	return packet, ack, nil
}

// unpad takes off up to 15 bytes. The length of a packet is that of its head
// and whole blocks, or of an unencrypted message, which has its own length.
func unpad(p []byte) []byte {
	switch {
	case len(p) < 20:
		return p[:4]
	case binary.LittleEndian.Uint64(p) == 0:
		return p[:min(len(p), 20+int(binary.LittleEndian.Uint32(p[16:])&(1<<30-1)))]
	}
	return p[:len(p)-(len(p)-24)&15]
}

// readFull reads length, sequence number, packet, checksum.
func (f *Frames) readFull() ([]byte, error) {
	var h [8]byte
	if _, err := io.ReadFull(f.r, h[:]); err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint32(h[:]))
	if n < 16 || n > MaxFrame || n%4 != 0 || binary.LittleEndian.Uint32(h[4:]) != f.in {
		return nil, ErrFrame
	}
	f.in++
	rest := make([]byte, n-8)
	if _, err := io.ReadFull(f.r, rest); err != nil {
		return nil, err
	}
	packet := rest[:n-12]
	if crc32.Update(crc32.ChecksumIEEE(h[:]), crc32.IEEETable, packet) != binary.LittleEndian.Uint32(rest[n-12:]) {
		return nil, ErrFrame
	}
	return packet, nil
}

// Write sends a packet.
func (f *Frames) Write(packet []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(packet)
	if n > MaxFrame || n%4 != 0 {
		return ErrFrame
	}
	var b []byte
	switch f.framing {
	case Abridged:
		if n/4 < 0x7f {
			b = append(b, byte(n/4))
		} else {
			b = append(b, 0x7f, byte(n>>2), byte(n>>10), byte(n>>18))
		}
		b = append(b, packet...)
	case Full:
		b = binary.LittleEndian.AppendUint32(b, uint32(n+12))
		b = binary.LittleEndian.AppendUint32(b, f.out)
		b = append(b, packet...)
		b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
		f.out++
	default:
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
		b = append(b, packet...)
	}
	_, err := f.w.Write(b)
	return err
}

// QuickAck acknowledges a packet that asked for it, by the token of its
// encrypted data.
func (f *Frames) QuickAck(token uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b [4]byte
	if f.framing == Abridged {
		binary.BigEndian.PutUint32(b[:], token|1<<31)
	} else {
		binary.LittleEndian.PutUint32(b[:], token|1<<31)
	}
	_, err := f.w.Write(b[:])
	return err
}
