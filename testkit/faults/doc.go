// Package faults plants faults in the encryption, one at a time, and holds
// that a test sees each of them: a check that is skipped, an index that is
// used again, a flag that is forgotten. What is planted goes to the compiler
// as an overlay; the source tree is not touched.
//
// The test of this package needs the go command and takes minutes, so it
// stands behind the build tag peers: go test -tags peers ./testkit/faults.
package faults
