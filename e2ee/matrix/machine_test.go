package matrix_test

import "testing"

func TestHello(t *testing.T) {
	t.Parallel()
	_, alice, bob := pair(t)
	alice.says("!r:x", "hello")
	turn(alice, bob)
	bob.wantReads("@alice: hello")
	bob.says("!r:x", "hi")
	turn(alice, bob)
	alice.wantReads("@alice: hello", "@bob: hi")
	bob.wantReads("@bob: hi")
}
