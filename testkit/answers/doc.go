// Package answers fuzzes what clients make of a server's answers: a device that
// is logged in on a real server gets made-up ones in the place of the server's,
// and its store is intact afterwards.
package answers
