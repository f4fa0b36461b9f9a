package matrixserver

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/vault"
)

func (s *homeserver) backupCalls() {
	s.client(http.MethodPost, "/room_keys/version", endpoint{rate: rateWrite, body: maxBody, handle: (*call).postBackup})
	s.client(http.MethodGet, "/room_keys/version", endpoint{rate: rateRead, handle: (*call).getLatestBackup})
	s.client(http.MethodGet, "/room_keys/version/{version}", endpoint{rate: rateRead, handle: (*call).getBackup})
	s.client(http.MethodPut, "/room_keys/version/{version}", endpoint{rate: rateWrite, body: maxBody, handle: (*call).putBackup})
	s.client(http.MethodDelete, "/room_keys/version/{version}", endpoint{rate: rateWrite, body: maxBody, handle: (*call).deleteBackup})
	s.backupKeyCalls()
}

// maxAuthData bounds what devices need to know of a backup, in bytes.
const maxAuthData = 64 << 10

// backupInfo reads the body of a call that makes or changes a version. The
// data are kept exactly as they are in it.
func (c *call) backupInfo() (*wire.Backup, error) {
	body, err := c.object()
	if err != nil {
		return nil, err
	}
	ms, err := members(body, "the body")
	if err != nil {
		return nil, err
	}
	q := &wire.Backup{Auth: field(ms, "auth_data")}
	var ok bool
	if q.Algorithm, ok = text(field(ms, "algorithm")); !ok || q.Algorithm == "" || len(q.Algorithm) > wire.MaxID {
		return nil, badJSON("algorithm must be a string")
	}
	if kind(q.Auth) != '{' {
		return nil, badJSON("auth_data must be a JSON object")
	}
	if len(q.Auth) > maxAuthData {
		return nil, wire.NewError(http.StatusRequestEntityTooLarge, wire.CodeTooLarge, "auth_data is too large")
	}
	if raw := field(ms, "version"); raw != nil {
		if q.Version, ok = text(raw); !ok {
			return nil, badJSON("version must be a string")
		}
	}
	return q, nil
}

// postBackup: "POST /room_keys/version".
func (c *call) postBackup() (any, error) {
	q, err := c.backupInfo()
	if err != nil {
		return nil, err
	}
	var version int64
	err = c.Update(c.ctx(), func(tx *db.Tx) (err error) {
		version, err = vault.NewBackup(tx, network, c.user, q.Algorithm, q.Auth)
		return err
	})
	return wire.BackupMade{Version: strconv.FormatInt(version, 10)}, err
}

func backupRow(b vault.Backup) wire.BackupVersion {
	return wire.BackupVersion{
		Backup:      wire.Backup{Algorithm: b.Algorithm, Auth: b.Auth, Version: strconv.FormatInt(b.Version, 10)},
		BackupCount: wire.BackupCount{Count: b.Count, Etag: strconv.FormatInt(b.Etag, 10)},
	}
}

// getLatestBackup: "GET /room_keys/version".
func (c *call) getLatestBackup() (any, error) {
	var b vault.Backup
	err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
		b, err = vault.LatestBackup(tx, network, c.user)
		return err
	})
	return backupRow(b), err
}

// getBackup: "GET /room_keys/version/{version}".
func (c *call) getBackup() (any, error) {
	version, err := backupVersion(c.path("version"))
	if err != nil {
		return nil, err
	}
	var b vault.Backup
	err = c.View(c.ctx(), func(tx *db.Tx) (err error) {
		b, err = vault.BackupOf(tx, network, c.user, version)
		return err
	})
	return backupRow(b), err
}

// backupVersion reads the number of a version. Clients treat it as opaque
// text; one that this server cannot have made does not exist.
func backupVersion(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != s {
		return 0, vault.ErrNoBackup
	}
	return n, nil
}

// putBackup: "PUT /room_keys/version/{version}".
func (c *call) putBackup() (any, error) {
	version, err := backupVersion(c.path("version"))
	if err != nil {
		return nil, err
	}
	q, err := c.backupInfo()
	if err != nil {
		return nil, err
	}
	if q.Version != "" && q.Version != c.path("version") {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "the version in the body is a different one")
	}
	return empty{}, c.Update(c.ctx(), func(tx *db.Tx) error {
		b, err := vault.BackupOf(tx, network, c.user, version)
		if err != nil {
			return err
		}
		if b.Algorithm != q.Algorithm {
			return wire.NewError(http.StatusBadRequest, wire.CodeInvalidParam, "the algorithm of a backup cannot change")
		}
		return vault.SetBackupAuth(tx, network, c.user, version, q.Auth)
	})
}

// deleteBackup: "DELETE /room_keys/version/{version}".
func (c *call) deleteBackup() (any, error) {
	version, err := backupVersion(c.path("version"))
	if err != nil {
		return nil, err
	}
	return empty{}, c.UpdateAlways(c.ctx(), func(tx *db.Tx) error { return vault.DeleteBackup(tx, network, c.user, version) })
}

// writable refuses to change the keys of any version but the latest.
func writable(tx *db.Tx, user quinta.UserID, version int64) error {
	latest, err := vault.LatestBackup(tx, network, user)
	if err != nil {
		return err
	}
	if latest.Version == version {
		return nil
	}
	return wire.NewError(http.StatusForbidden, wire.CodeWrongBackupVersion, "this is not the latest version of the backup").
		With("current_version", strconv.FormatInt(latest.Version, 10))
}

// backupOfParam reads the query parameter "version", which names a version
// that may or may not be there.
func (c *call) backupOfParam() (int64, error) {
	s := c.param("version")
	if s == "" {
		return 0, wire.NewError(http.StatusBadRequest, wire.CodeMissingParam, "the version of the backup is missing")
	}
	version, err := backupVersion(s)
	if errors.Is(err, vault.ErrNoBackup) && c.r.Method != http.MethodGet {
		return -1, nil // no such version, so not the latest one
	}
	return version, err
}
