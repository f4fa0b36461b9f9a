package wire

import (
	"crypto/aes"
	"crypto/subtle"
	"encoding/binary"

	"github.com/gotd/td/bin"
	"github.com/gotd/td/crypto"

	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/internal/ige"
)

// The envelope of a binding: key and msg_key; random bytes, msg_id, seq_no and
// length; the object; padding to whole blocks.
const (
	bindHead   = 8 + 16
	bindBefore = 16 + 8 + 4 + 4
	bindInner  = 4 + 4*8 + 4
	bindSealed = (bindBefore + bindInner + 15) / 16 * 16
)

// OpenBinding opens the encrypted_message of auth.bindTempAuthKey under the
// permanent key k. It is the one thing that is still encrypted by MTProto 1.0.
// Whatever is wrong with it is ErrMessage.
func OpenBinding(k *secretchat.Key, envelope []byte) (*BindAuthKeyInner, error) {
	if len(envelope) != bindHead+bindSealed || int64(binary.LittleEndian.Uint64(envelope)) != k.Fingerprint() {
		return nil, ErrMessage
	}
	msgKey := bin.Int128(envelope[8:bindHead])
	key, iv := crypto.KeysV1(crypto.Key(k.Bytes()), msgKey)
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, ErrMessage
	}
	chain := ige.Chain(iv)
	plain := make([]byte, bindSealed)
	ige.Decrypt(block, &chain, plain, envelope[bindHead:])
	want := crypto.MessageKeyV1(plain[:bindBefore+bindInner])
	if subtle.ConstantTimeCompare(want[:], msgKey[:]) != 1 || binary.LittleEndian.Uint32(plain[bindBefore-4:]) != bindInner {
		return nil, ErrMessage
	}
	o, err := Schema.Unmarshal(plain[bindBefore : bindBefore+bindInner])
	inner, ok := o.(*BindAuthKeyInner)
	if err != nil || !ok {
		return nil, ErrMessage
	}
	return inner, nil
}
