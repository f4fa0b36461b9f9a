// Package quinta holds the nouns that the whole of Quinta stands on: users,
// devices, rooms, messages, envelopes, trust, and the kinds of error.
//
// Quinta gives a program, a person or a team an end-to-end encrypted seat on
// several networks, in pure Go. This package has types and constants only;
// what is done with them lives in the packages above it:
//
//   - e2ee/* are the end-to-end encryption systems: bytes in, bytes out, with
//     clock and randomness handed in;
//   - server/* is the server core, a set of functions over one transaction;
//   - client/* is the client core;
//   - network/* joins a system and a core to the wire of one network.
//
// doc/arch.md draws the house; floors_test.go keeps it standing.
package quinta
