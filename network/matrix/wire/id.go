package wire

import (
	"strings"

	"github.com/quinta-chat/quinta"
)

// Network is the name of the network.
const Network quinta.NetworkName = "matrix"

// MaxID is how many bytes a user id, room id, alias, event id, event type or
// state key may have (client-server API, "Size limits").
const MaxID = 255

// UserID builds the Matrix name of an account.
func UserID(localpart, server string) quinta.UserID {
	return quinta.UserID("@" + localpart + ":" + server)
}

// SplitUserID returns the local part and the server name of "@local:server".
// Historical local parts are accepted: any text without a colon.
func SplitUserID(id quinta.UserID) (localpart, server string, ok bool) {
	return splitID(string(id), '@')
}

// SplitAlias returns the local part and the server name of "#local:server".
func SplitAlias(alias string) (localpart, server string, ok bool) {
	return splitID(alias, '#')
}

func splitID(id string, sigil byte) (localpart, server string, ok bool) {
	if len(id) < 4 || len(id) > MaxID || id[0] != sigil {
		return "", "", false
	}
	localpart, server, ok = strings.Cut(id[1:], ":")
	return localpart, server, ok && localpart != "" && server != "" && !strings.ContainsRune(id, 0)
}
