// Package hostile is a Matrix homeserver that lies. It stands as a proxy before
// an honest server, one for each client that it is to deceive, and does what a
// server can do that its owner, or whoever broke into it, turned against its
// users: it adds devices and members, swaps keys, replays, reorders, withholds,
// downgrades, answers late and twice, sends keys to the wrong device and
// forges senders.
//
// Each power is a method of [Server] and lasts from its call until [Server.Repent].
// The tests of this package are the attacks; attacks_test.go says which test
// stands for which attack.
package hostile
