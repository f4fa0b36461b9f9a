// Package quinta defines the nouns that all of Quinta is built on: users,
// devices, rooms, messages, envelopes, trust, and the kinds of error.
//
// Quinta gives a program, a person or a team an end-to-end encrypted seat on
// several networks, in pure Go. This package has types and constants only;
// the packages above it work with them:
//
//   - e2ee/* are the end-to-end encryption systems: bytes in, bytes out, with
//     clock and randomness handed in;
//   - server/* is the server core, a set of functions over one transaction;
//   - client/* is the client core;
//   - network/* joins a system and a core to the wire of one network.
//
// doc/arch.md describes the structure; floors_test.go enforces it.
package quinta
