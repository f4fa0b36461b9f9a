package xmppserver

import (
	"context"
	"encoding/hex"
	"errors"
	"io"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/db"
)

var errNoKeeper = quinta.E(quinta.KindUnavailable, "xmpp", "no key is configured to seal secrets: set secrets")

// secret returns one of the server's own secrets, which is made if there is
// none: 32 random bytes. fresh makes it again.
func (s *xmppServer) secret(ctx context.Context, id string, fresh bool) ([]byte, error) {
	if s.Secrets == nil {
		return nil, errNoKeeper
	}
	if !fresh {
		if b, err := s.stored(ctx, id); b != nil || err != nil {
			return b, err
		}
	}
	raw := make([]byte, 32)
	if _, err := io.ReadFull(s.Rand, raw); err != nil {
		return nil, err
	}
	sealed, err := s.Secrets.Seal(ctx, raw)
	if err != nil {
		return nil, err
	}
	// Of two nodes that make it at once one wins.
	err = s.Update(ctx, func(tx *db.Tx) error {
		sql := `INSERT INTO xmpp_secret (id, sealed, created) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING`
		if fresh {
			sql = `INSERT INTO xmpp_secret (id, sealed, created) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed, created = excluded.created`
		}
		_, err := tx.Exec(sql, id, sealed, tx.Millis())
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.stored(ctx, id)
}

// stored returns a secret from the store, or nil.
func (s *xmppServer) stored(ctx context.Context, id string) ([]byte, error) {
	var sealed []byte
	err := s.View(ctx, func(tx *db.Tx) error {
		return tx.Row(`SELECT sealed FROM xmpp_secret WHERE id = $1`, id).Scan(&sealed)
	})
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if s.Secrets == nil {
		return nil, errNoKeeper
	}
	return s.Secrets.Unseal(ctx, sealed)
}

// The ids of the server's own secrets.
const (
	secretToken     = "token"
	secretComponent = "component"
)

var errNoSecret = quinta.E(quinta.KindUnavailable, "xmpp", `the component has no secret: run "quintad xmpp setup", or set xmpp-secret`)

// componentSecret returns what the component proves itself with.
func (s *xmppServer) componentSecret(ctx context.Context) (string, error) {
	if file := s.Setting(settingSecret); file != "" {
		return readSecret(file)
	}
	raw, err := s.stored(ctx, secretComponent)
	if err != nil {
		return "", err
	}
	if raw == nil {
		return "", errNoSecret
	}
	return hex.EncodeToString(raw), nil
}
