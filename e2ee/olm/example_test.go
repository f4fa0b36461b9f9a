package olm_test

import (
	"crypto/rand"
	"fmt"

	"github.com/quinta-chat/quinta/e2ee/olm"
)

// A whole conversation. What each side stores, and when, is in the comments.
func Example() {
	alice, err := olm.NewAccount(rand.Reader)
	if err != nil {
		panic(err)
	}
	bob, err := olm.NewAccount(rand.Reader)
	if err != nil {
		panic(err)
	}

	// Bob publishes a one-time key. Bob stores the account before uploading,
	// and marks the keys when the server has them.
	if err := bob.GenerateOneTimeKeys(rand.Reader, 1); err != nil {
		panic(err)
	}
	published := bob.Unpublished()
	bob.MarkPublished(published[0].ID)

	// Alice has claimed it, and starts a session. She stores the session
	// before the message leaves.
	toBob, err := alice.NewOutbound(rand.Reader, bob.Identity(), published[0].Key)
	if err != nil {
		panic(err)
	}
	first, err := toBob.Seal(rand.Reader, []byte("hello, Bob"))
	if err != nil {
		panic(err)
	}

	// Bob has no session that matches, so the message makes one. He stores
	// account and session together: the one-time key is gone.
	m, err := olm.ParsePreKeyMessage(first.Body)
	if err != nil {
		panic(err)
	}
	toAlice, plaintext, err := bob.NewInbound(alice.Identity(), m)
	if err != nil {
		panic(err)
	}
	fmt.Println("type", first.Type, string(plaintext))

	// Bob's answer turns the ratchet. From now on both send normal messages.
	answer, err := toAlice.Seal(rand.Reader, []byte("hello, Alice"))
	if err != nil {
		panic(err)
	}
	n, err := olm.ParseMessage(answer.Body)
	if err != nil {
		panic(err)
	}
	plaintext, err = toBob.Open(n)
	if err != nil {
		panic(err)
	}
	fmt.Println("type", answer.Type, string(plaintext))
	fmt.Println(toBob.ID() == toAlice.ID())

	// Output:
	// type 0 hello, Bob
	// type 1 hello, Alice
	// true
}
