package matrixclient

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/e2ee/secretstorage"
)

// secretsWithin bounds how long a verification waits for the secrets that the
// other device is asked for, or asks for.
const secretsWithin = 5 * time.Second

// secretsAgain is how long it waits before it asks again.
const secretsAgain = time.Second

// shareSecrets asks for the secrets that this device lacks, after it verified
// another own one, or waits a little for that one to ask, if it is fresh.
func (s *Session) shareSecrets(ctx context.Context, with quinta.DeviceID, fresh bool) error {
	missing, err := s.missingSecrets(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(missing, func(name string) bool { return name != secretstorage.NameBackup }) {
		return s.askSecrets(ctx, missing)
	}
	if !fresh {
		return nil
	}
	return s.waitALittle(ctx, func(tx e2ee.Tx) (bool, error) { return s.machine.SecretsGiven(tx, with) })
}

// missingSecrets returns the names of the secrets that this device lacks.
func (s *Session) missingSecrets(ctx context.Context) ([]string, error) {
	var out []string
	err := s.look(ctx, func(tx e2ee.Tx) error {
		c, err := s.machine.CrossSigning(tx)
		if err != nil {
			return err
		}
		k, err := s.machine.BackupKey(tx)
		for _, one := range []struct {
			name string
			zero bool
		}{
			{secretstorage.NameMaster, c.Master.IsZero()}, {secretstorage.NameSelfSigning, c.SelfSigning.IsZero()},
			{secretstorage.NameUserSigning, c.UserSigning.IsZero()}, {secretstorage.NameBackup, k.IsZero()},
		} {
			if one.zero {
				out = append(out, one.name)
			}
		}
		return err
	})
	return out, err
}

// askSecrets asks the user's own verified devices for secrets, and waits a
// little for those of the identity, and then until this device is signed with
// them. It asks more than once: a device ignores whoever it has not verified
// yet, and may still be about to.
func (s *Session) askSecrets(ctx context.Context, missing []string) error {
	for range secretsWithin / secretsAgain {
		if err := s.st.Update(ctx, func(tx e2ee.Tx) error {
			for _, name := range missing {
				if err := s.machine.RequestSecret(tx, name); err != nil && !errors.Is(err, matrix.ErrUnknownDevice) {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
		s.runner.Wake()
		done := false
		err := s.waitFor(ctx, secretsAgain, func(tx e2ee.Tx) (bool, error) {
			c, err := s.machine.CrossSigning(tx)
			if err != nil || !complete(c) {
				return false, err
			}
			waits, err := s.machine.Signing(tx)
			done = err == nil && !waits
			return done, err
		})
		if err == nil && done && slices.Contains(missing, secretstorage.NameBackup) {
			// The key of the backup, if there is one, was asked for at the same time.
			return s.waitFor(ctx, secretsAgain, func(tx e2ee.Tx) (bool, error) {
				k, err := s.machine.BackupKey(tx)
				return !k.IsZero(), err
			})
		}
		if err != nil || done {
			return err
		}
		if missing, err = s.missingSecrets(ctx); err != nil {
			return err
		}
	}
	return nil
}

// waitALittle waits for cond, and no longer than secretsWithin: what does not
// come now comes later.
func (s *Session) waitALittle(ctx context.Context, cond func(tx e2ee.Tx) (bool, error)) error {
	return s.waitFor(ctx, secretsWithin, cond)
}

// waitFor waits for cond, and no longer than the time given, whose end is not
// an error.
func (s *Session) waitFor(ctx context.Context, within time.Duration, cond func(tx e2ee.Tx) (bool, error)) error {
	short, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := s.runner.Wait(short, "waiting for secrets", cond)
	if err != nil && short.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}
