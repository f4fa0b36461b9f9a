package matrixclient

import (
	"context"
	"fmt"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/internal/printable"
)

// examineIdentity looks at the account's cross-signing identity.
func (s *Session) examineIdentity(ctx context.Context) (client.Finding, error) {
	const name = "identity"
	id, err := s.Identity(ctx)
	if err != nil {
		return client.Finding{Name: name}, err
	}
	switch {
	case id.Changed:
		return bad(name, "the account's own identity changed", "if you did not change it yourself, change the password; otherwise verify this device again"), nil
	case !id.Exists:
		return bad(name, "the account has no cross-signing identity: other users have to compare each of its devices", "make one: quinta keys identity create"), nil
	case !id.Trusted:
		return bad(name, "this device does not know whether the account's identity is the right one", "verify it with another device, or unlock the backup with the recovery key"), nil
	case !id.Complete:
		return good(name, "this device knows the account's identity, but does not have all of its private keys"), nil
	}
	return good(name, "this device knows the account's identity and has its private keys"), nil
}

// examineSignature looks whether the identity signed this device.
func (s *Session) examineSignature(ctx context.Context) (client.Finding, error) {
	const name = "device-signature"
	id, err := s.Identity(ctx)
	switch {
	case err != nil:
		return client.Finding{Name: name}, err
	case !id.Exists:
		return good(name, "there is no identity that could sign this device"), nil
	case !id.SignsThis:
		return bad(name, "the account's identity has not signed this device: others may refuse to send it keys", "verify it with another device, or unlock the backup with the recovery key"), nil
	}
	return good(name, "the account's identity signed this device"), nil
}

// maxNamed limits how many names appear in one finding.
const maxNamed = 10

// examineContacts looks for others whose identity is not the one it was.
func (s *Session) examineContacts(ctx context.Context) (client.Finding, error) {
	const name = "contacts"
	var changed []quinta.UserID
	if err := s.look(ctx, func(tx e2ee.Tx) (err error) {
		changed, err = s.machine.ChangedIdentities(tx)
		return err
	}); err != nil {
		return client.Finding{Name: name}, err
	}
	if len(changed) == 0 {
		return good(name, "no identity that was seen before has changed"), nil
	}
	var names []string
	for _, u := range changed[:min(len(changed), maxNamed)] {
		names = append(names, printable.Line(string(u)))
	}
	return bad(name, fmt.Sprintf("%d changed: %s", len(changed), strings.Join(names, ", ")), "verify each of them again, or accept the change: quinta devices acknowledge USER"), nil
}

// examineBackup looks at the key backup.
func (s *Session) examineBackup(ctx context.Context) (client.Finding, error) {
	const name = "backup"
	var b client.BackupInfo
	v, err := s.backup(ctx)
	if err == nil && v != nil {
		b, err = s.Backup(ctx)
	}
	switch {
	case err != nil:
		return client.Finding{Name: name}, err
	case !b.Exists:
		return bad(name, "there is none: if the last device is lost, all keys are lost", "make a backup, and keep its recovery key"), nil
	case !b.Unlocked:
		return bad(name, fmt.Sprintf("there is one with %d keys, but this device cannot open it", b.Keys), "unlock it with its recovery key"), nil
	}
	var unsaved []matrix.Backup
	if err := s.look(ctx, func(tx e2ee.Tx) (err error) { unsaved, err = s.machine.Unsaved(tx, maxUnsaved); return err }); err != nil {
		return client.Finding{Name: name}, err
	}
	return good(name, fmt.Sprintf("it has %d keys, and %d more wait to be uploaded", b.Keys, len(unsaved))), nil
}

// maxUnsaved bounds how far keys that wait are counted.
const maxUnsaved = 1000
