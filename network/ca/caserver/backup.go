package caserver

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/vault"
)

// The name under which the vault stores a sealed backup.
const (
	backupScope = "ca"
	backupName  = "backup"
)

func (s *caServer) backupCalls() {
	s.at(http.MethodGet, wire.PathBackup, endpoint{rate: rateRead, handle: (*call).getBackup})
	s.at(http.MethodPut, wire.PathBackup, endpoint{rate: rateWrite, body: wire.MaxBackup + 1024, handle: (*call).putBackup})
	s.at(http.MethodDelete, wire.PathBackup, endpoint{rate: rateWrite, body: maxBody, handle: (*call).deleteBackup})
}

// tagOf names a version of a backup.
func tagOf(sealed []byte) string {
	sum := sha256.Sum256(sealed)
	return hex.EncodeToString(sum[:16])
}

func (c *call) getBackup() (any, error) {
	var sealed []byte
	err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
		sealed, err = vault.GetData(tx, network, c.user, backupScope, backupName)
		return err
	})
	if quinta.KindOf(err) == quinta.KindNotFound {
		return nil, notFound("there is no backup")
	}
	return wire.Backup{Sealed: sealed, Tag: tagOf(sealed)}, err
}

// putBackup stores a backup in the place of the version that the caller names,
// so that of two devices that write at once none overwrites the other's.
func (c *call) putBackup() (any, error) {
	var q wire.Backup
	if err := c.decode(&q); err != nil {
		return nil, err
	}
	if len(q.Sealed) == 0 || len(q.Sealed) > wire.MaxBackup || q.Sealed[0] != '{' {
		return nil, invalid("a backup is a JSON object of at most 128 KiB")
	}
	err := c.Update(c.ctx(), func(tx *db.Tx) error {
		have, err := vault.GetData(tx, network, c.user, backupScope, backupName)
		tag := ""
		switch {
		case err == nil:
			tag = tagOf(have)
		case quinta.KindOf(err) != quinta.KindNotFound:
			return err
		}
		if tag != q.Tag && tag != tagOf(q.Sealed) {
			return wire.NewError(http.StatusConflict, wire.CodeConflict, "the backup was changed in the meantime: fetch it first")
		}
		return vault.PutData(tx, network, c.user, backupScope, backupName, q.Sealed)
	})
	return wire.Backup{Sealed: q.Sealed, Tag: tagOf(q.Sealed)}, err
}

func (c *call) deleteBackup() (any, error) {
	if err := c.decode(&wire.Empty{}); err != nil {
		return nil, err
	}
	return wire.Empty{}, c.UpdateAlways(c.ctx(), func(tx *db.Tx) error {
		there, err := vault.DeleteData(tx, network, c.user, backupScope, backupName)
		if err == nil && !there {
			return notFound("there is no backup")
		}
		return err
	})
}
