// Package peer gathers the other programs that Quinta is proven against, one
// folder each: real clients, real servers, real databases. Nothing here
// imitates a peer; a peer that is not installed is a test that is left out,
// or, where the variable of package require is set, a test that fails.
//
// install.sh fetches every peer; it does nothing where they are in place.
package peer
