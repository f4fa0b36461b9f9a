// Package mtproto runs clients of other makes against the secret chat network.
// The folder gotd/gotdpeer is a module of its own: the client that it links is
// large, and nothing else needs it.
package mtproto
