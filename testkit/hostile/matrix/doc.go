// Package matrix is a Matrix homeserver that lies. It is a proxy in front of an
// honest server, one for each client that it deceives, and does what a server
// could do if its owner, or an intruder, turned it against its users: it adds
// devices and members, swaps keys, replays, reorders, withholds, downgrades,
// answers late and twice, sends keys to the wrong device and forges senders.
//
// Each power is a method of [Server] and lasts from its call until [Server.Repent].
// The tests of this package are the attacks; attacks_test.go says which test
// covers which attack.
package matrix
