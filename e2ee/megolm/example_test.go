package megolm_test

import (
	"crypto/rand"
	"fmt"

	"github.com/quinta-chat/quinta/e2ee/megolm"
)

// A device seals two messages to a room. Bob was there from the first; Carol
// got the session key between the two.
func Example() {
	out, err := megolm.NewOutbound(rand.Reader)
	if err != nil {
		panic(err)
	}
	bob, err := megolm.NewInbound(out.SessionKey()) // sent over Olm
	if err != nil {
		panic(err)
	}
	var sent []*megolm.Message
	var carol *megolm.Inbound
	for i, text := range []string{"before Carol", "hello, Carol"} {
		if i == 1 {
			if carol, err = megolm.NewInbound(out.SessionKey()); err != nil {
				panic(err)
			}
		}
		b, err := out.Seal([]byte(text)) // store out before b leaves
		if err != nil {
			panic(err)
		}
		m, err := megolm.ParseMessage(b)
		if err != nil {
			panic(err)
		}
		sent = append(sent, m)
	}
	for name, s := range map[string]*megolm.Inbound{"Bob": bob, "Carol": carol} {
		for _, m := range sent {
			plaintext, err := s.Open(m)
			fmt.Println(name, m.Index, string(plaintext), err)
		}
	}

	// Unordered output:
	// Bob 0 before Carol <nil>
	// Bob 1 hello, Carol <nil>
	// Carol 0  megolm: message is older than this session
	// Carol 1 hello, Carol <nil>
}
