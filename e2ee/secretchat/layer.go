package secretchat

import (
	"errors"
	"fmt"
	"io"

	"github.com/gotd/td/bin"
	"github.com/gotd/td/tg/e2e"
)

// The layers of the schema inside of packets.
const (
	// Layer is what this package writes and reads at most.
	Layer = 144
	// FirstLayer is what a peer is taken to read until it says more.
	FirstLayer = 46
	// LayerV2 is the first one with MTProto 2.0; nothing below it is written.
	LayerV2 = 73
	// LayerSpoiler is the first one with spoilers and custom emoji.
	LayerSpoiler = 144
	// LayerLarge is the first one with files above 2,000 MB.
	LayerLarge = 143
)

// Errors of messages.
var (
	// ErrMalformed: the message is not an object of the schema.
	ErrMalformed = errors.New("secretchat: malformed message")
	// ErrNewer: the message has a layer that this version does not read.
	ErrNewer = errors.New("secretchat: the message needs a newer version")
)

const (
	randomBytes    = 31 // as TDLib
	minRandomBytes = 15
)

// A Header is what every message of layer 17 or more begins with. The numbers
// are those of the wire.
type Header struct {
	Layer         int
	InSeq, OutSeq int
}

// writeLayer is the layer of a message for a peer that reads remote.
func writeLayer(remote int) int { return max(LayerV2, min(Layer, remote)) }

// Marshal serializes decryptedMessageLayer. Its random bytes come from rand.
func Marshal(rand io.Reader, h Header, m e2e.DecryptedMessageClass) ([]byte, error) {
	random := make([]byte, randomBytes)
	if _, err := io.ReadFull(rand, random); err != nil {
		return nil, fmt.Errorf("secretchat: drawing random bytes: %w", err)
	}
	var b bin.Buffer
	err := b.Encode(&e2e.DecryptedMessageLayer{RandomBytes: random, Layer: h.Layer, InSeqNo: h.InSeq, OutSeqNo: h.OutSeq, Message: m})
	if err != nil {
		return nil, fmt.Errorf("secretchat: serializing: %w", err)
	}
	if len(b.Buf) > MaxBody {
		return nil, ErrTooLong
	}
	return b.Buf, nil
}

// Parse reads a serialized message. The header is returned also with ErrNewer
// and with ErrMalformed if it could be read itself: then Layer is not 0.
func Parse(body []byte) (Header, e2e.DecryptedMessageClass, error) {
	b := &bin.Buffer{Buf: body}
	h, err := parseHeader(b)
	if err != nil {
		return Header{}, nil, fmt.Errorf("%w: header", ErrMalformed)
	}
	if h.Layer > Layer {
		return h, nil, ErrNewer
	}
	m, err := e2e.DecodeDecryptedMessage(b)
	if err != nil || len(b.Buf) != 0 {
		// The decoder's own error may quote the message.
		return h, nil, ErrMalformed
	}
	return h, m, nil
}

func parseHeader(b *bin.Buffer) (h Header, err error) {
	if err = b.ConsumeID(e2e.DecryptedMessageLayerTypeID); err != nil {
		return h, err
	}
	random, err := b.Bytes()
	if err != nil {
		return h, err
	}
	for _, v := range []*int{&h.Layer, &h.InSeq, &h.OutSeq} {
		if *v, err = b.Int(); err != nil {
			return h, err
		}
	}
	if len(random) < minRandomBytes || h.Layer <= 0 || h.InSeq < 0 || h.OutSeq < 0 {
		return h, ErrMalformed
	}
	return h, nil
}
