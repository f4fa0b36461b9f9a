// Package sixth contains a toy network that tests the structure of the
// repository: this folder holds what a network adds, in the same folders e2ee
// and network as at the root, and the same import rules apply to it. The test
// of this package runs it beside the real networks.
//
// The toy posts texts through one TCP connection. A user logs in with a code of
// the operator, and reads what was sealed with the circle's word. It has no
// forward secrecy and no rooms, and its connection is in clear, so it works on
// loopback only: do not use it for anything except to see how a network is
// made.
package sixth
