package rocketchatclient

import (
	"context"
	"encoding/json"
	"net/url"
)

// Fetch asks a call of the server with the login of a session.
func Fetch(ctx context.Context, s *Session, name string, q url.Values) (raw json.RawMessage, err error) {
	err = s.link.get(ctx, "asking", name, q, &raw)
	return raw, err
}
