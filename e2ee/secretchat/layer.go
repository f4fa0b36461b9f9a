package secretchat

import (
	"errors"
	"fmt"
	"io"

	"github.com/quinta-chat/quinta/e2ee/secretchat/schema"
	"github.com/quinta-chat/quinta/internal/tl"
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
func Marshal(rand io.Reader, h Header, m schema.Message) ([]byte, error) {
	random := make([]byte, randomBytes)
	if _, err := io.ReadFull(rand, random); err != nil {
		return nil, fmt.Errorf("secretchat: drawing random bytes: %w", err)
	}
	inner, err := schema.Objects.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("secretchat: serializing: %w", err)
	}
	body, err := schema.Objects.Marshal(&schema.DecryptedMessageLayer{RandomBytes: random, Layer: h.Layer, InSeqNo: h.InSeq, OutSeqNo: h.OutSeq, Message: inner})
	if err != nil {
		return nil, fmt.Errorf("secretchat: serializing: %w", err)
	}
	if len(body) > MaxBody {
		return nil, ErrTooLong
	}
	return body, nil
}

// Parse reads a serialized message. The header is returned also with ErrNewer
// and with ErrMalformed if it could be read itself: then Layer is not 0.
func Parse(body []byte) (Header, schema.Message, error) {
	if tl.Peek(body) != schema.Objects.ID(schema.DecryptedMessageLayer{}) {
		return Header{}, nil, fmt.Errorf("%w: header", ErrMalformed)
	}
	o, err := schema.Objects.Unmarshal(body)
	if err != nil {
		return Header{}, nil, fmt.Errorf("%w: header", ErrMalformed)
	}
	l := o.(*schema.DecryptedMessageLayer)
	h := Header{Layer: l.Layer, InSeq: l.InSeqNo, OutSeq: l.OutSeqNo}
	if len(l.RandomBytes) < minRandomBytes || h.Layer <= 0 || h.InSeq < 0 || h.OutSeq < 0 {
		return Header{}, nil, fmt.Errorf("%w: header", ErrMalformed)
	}
	if h.Layer > Layer {
		return h, nil, ErrNewer
	}
	inner, err := schema.Objects.Unmarshal(l.Message)
	m, ok := inner.(schema.Message)
	if err != nil || !ok {
		return h, nil, ErrMalformed
	}
	return h, m, nil
}
