// Package sixth holds a toy network to the plan of the house: below this folder
// is what a network adds to the repository, in the folders e2ee and network as
// they are above it, and the floors hold it as they hold the others. The test
// of this package runs it beside the real networks.
//
// The toy posts texts through one TCP connection. A user logs in with a code
// of the operator, and reads what was sealed with the circle's word. It has no
// forward secrecy and no rooms, speaks in clear and therefore on loopback only:
// nobody should use it for anything but to see how a network is made.
package sixth
