package incoming

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
)

// Owner returns the owner of the bearer token that a request to a network
// carries, see [Token].
func Owner(core *server.Core, r *http.Request, network quinta.NetworkName) (device.Owner, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return device.Owner{}, ErrNoToken
	}
	return Token(r.Context(), core, network, strings.TrimSpace(token), Addr(r))
}

// Token returns the owner of a token of a network, and notes now and then when
// and from which address the device was seen. A token of another network is not
// known on this one.
func Token(ctx context.Context, core *server.Core, network quinta.NetworkName, token, addr string) (device.Owner, error) {
	if token == "" {
		return device.Owner{}, ErrNoToken
	}
	var o device.Owner
	err := core.Peek(ctx, func(tx *db.Tx) (err error) {
		o, err = device.ByToken(tx, network, token)
		return err
	})
	if errors.Is(err, device.ErrNoToken) {
		return device.Owner{}, ErrToken
	}
	if err == nil {
		err = saw(ctx, core, o, addr)
	}
	return o, err
}

// saw notes that a device was seen.
func saw(ctx context.Context, core *server.Core, o device.Owner, addr string) error {
	if core.Now().UnixMilli()-o.Seen <= device.SeenStep {
		return nil
	}
	return core.Update(ctx, func(tx *db.Tx) error { return device.Saw(tx, o.Network, o.User, o.Device, addr) })
}

// PutKey stores the key of a connection under an id that is new on the
// network, sealed, until it is bound or has expired; see [device.PutKey]. It
// needs the server's keeper of secrets.
func PutKey(ctx context.Context, core *server.Core, network quinta.NetworkName, id, key []byte, life time.Duration) error {
	if core.Secrets == nil {
		return errNoSecrets
	}
	place := placeOf(network, id)
	sealed, err := core.Secrets.Seal(ctx, append(place[:], key...))
	if err != nil {
		return err
	}
	return core.Update(ctx, func(tx *db.Tx) error {
		return device.PutKey(tx, network, id, sealed, tx.Millis()+life.Milliseconds())
	})
}

// Key returns the key of a connection and its owner, whose User is empty until
// somebody has logged in with it ([device.BindKey]), or ErrToken. A device that
// has is noted as seen, as by Token.
func Key(ctx context.Context, core *server.Core, network quinta.NetworkName, id []byte, addr string) (key []byte, o device.Owner, err error) {
	if core.Secrets == nil {
		return nil, o, errNoSecrets
	}
	var k device.Key
	err = core.Peek(ctx, func(tx *db.Tx) (err error) {
		k, err = device.ByKey(tx, network, id)
		return err
	})
	if errors.Is(err, device.ErrNoToken) {
		return nil, o, ErrToken
	}
	if err != nil {
		return nil, o, err
	}
	plain, err := core.Secrets.Unseal(ctx, k.Sealed)
	if err != nil {
		return nil, o, err
	}
	place := placeOf(network, id)
	key, ok := bytes.CutPrefix(plain, place[:])
	if !ok {
		return nil, o, errors.New("incoming: a key is stored in the place of another")
	}
	if k.Bound() {
		err = saw(ctx, core, k.Owner, addr)
	}
	return key, k.Owner, err
}

var errNoSecrets = errors.New("incoming: the server has no key for its secrets")

// placeOf returns what is sealed with a key, so that the store cannot give one
// key for another.
func placeOf(network quinta.NetworkName, id []byte) [sha256.Size]byte {
	return sha256.Sum256([]byte("quinta device key " + string(network) + " " + hex.EncodeToString(id)))
}
