// Package matrix holds the Matrix homeserver and client to other programs:
// matrix-js-sdk with the Rust crypto, mautrix-go, and libolm. Its tests are
// stories that these clients and Quinta's own play together on a running
// server; they need the build tag peers.
package matrix
