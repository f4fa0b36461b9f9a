package rocketchat

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
)

// TestKeysAreBounded: a room whose key is replaced without end does not make the
// store grow without end, and of more users than may be pinned the later ones are
// not, while the earlier ones stay.
func TestKeysAreBounded(t *testing.T) {
	t.Parallel()
	luck := rand.NewChaCha8([32]byte{1})
	m := New(e2ee.Env{Now: func() time.Time { return time.UnixMilli(1) }, Rand: luck}, Author{ID: "me", Name: "me"})
	err := memory.New().Update(context.Background(), func(tx e2ee.Tx) error {
		_, err := m.run(tx, func(w *work) error {
			r := &room{State: RoomState{ID: "r", Encrypted: true}}
			for range maxKeysOfRoom + 3 {
				k, err := GenerateRoomKey(luck)
				if err != nil {
					return err
				}
				if ok, err := w.keepKey(r, k, 1); !ok || err != nil {
					return fmt.Errorf("a new key is not kept: %w", err)
				}
			}
			for _, prefix := range []string{"key/", "keyuse/"} {
				if list, err := e2ee.Entries(tx, prefix); len(list) != maxKeysOfRoom || err != nil {
					t.Errorf("%s: got %d, %v, want %d", prefix, len(list), err, maxKeysOfRoom)
				}
			}
			for i := range maxPins {
				if ok, err := w.holdPin(fmt.Sprint("u", i)); !ok || err != nil {
					return fmt.Errorf("user %d is not pinned: %w", i, err)
				}
			}
			ok, err := w.holdPin("one more")
			if ok || len(w.events) != 1 {
				t.Errorf("one user more: pinned %v, told %d times", ok, len(w.events))
			}
			return err
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
