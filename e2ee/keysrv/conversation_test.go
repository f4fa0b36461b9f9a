package keysrv_test

import (
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/e2ee/keysrv"
)

func TestCheckConversation(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("r_", 16)
	for id, want := range map[string]bool{
		keysrv.DirectID("alice@example.org", "bob@example.org"): true,
		keysrv.RoomID("room@example.org"):                       true,
		"d_" + hash:                                             true,
		"r_" + hash:                                             true,
		"x_" + hash:                                             false,
		hash:                                                    false,
		"d_" + hash[:31]:                                        false,
		"d_" + hash + "a":                                       false,
		"d_":                                                    false,
		"d":                                                     false,
		"":                                                      false,
	} {
		if err := keysrv.CheckConversation(id); (err == nil) != want {
			t.Errorf("%q: got %v", id, err)
		}
	}
}
