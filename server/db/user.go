package db

import (
	"strings"

	"github.com/quinta-chat/quinta"
)

// A User is a user of one network, in the form in which the sets store it: the
// name of the network, a space, and the user's id there. Users of two networks
// may have the same id, such as alice@example.org; their rows never meet.
type User string

// UserOf returns the stored form of a user. The name of a network holds no
// space.
func UserOf(network quinta.NetworkName, id quinta.UserID) User {
	return User(string(network) + " " + string(id))
}

// UsersOf returns the stored forms of users, as arguments of a statement.
func UsersOf(network quinta.NetworkName, ids []quinta.UserID) []any {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = string(UserOf(network, id))
	}
	return args
}

// Network returns the network.
func (u User) Network() quinta.NetworkName {
	network, _, _ := strings.Cut(string(u), " ")
	return quinta.NetworkName(network)
}

// ID returns the user's id on the network.
func (u User) ID() quinta.UserID {
	_, id, _ := strings.Cut(string(u), " ")
	return quinta.UserID(id)
}
