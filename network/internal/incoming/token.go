package incoming

import (
	"context"
	"errors"
	"net/http"
	"strings"

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

// Token returns the owner of a token of a network, and records at intervals
// when and from which address the device was seen. A token of another network
// is unknown on this one.
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
	if err == nil && core.Now().UnixMilli()-o.Seen > device.SeenStep {
		err = core.UpdateAlways(ctx, func(tx *db.Tx) error { return device.Saw(tx, o.Network, o.User, o.Device, addr) })
	}
	return o, err
}
