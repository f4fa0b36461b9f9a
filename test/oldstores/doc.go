// Package oldstores holds stores that earlier versions of the programs wrote,
// and the test that opens them with today's: see testdata/README.md. It has no
// code of its own.
package oldstores
