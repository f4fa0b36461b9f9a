package matrix_test

import (
	"crypto/rand"
	"fmt"
	"log"
	"time"

	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
)

// A device is driven by asking what is due, carrying it out, and giving the
// answer back, each step in a transaction of its own.
func Example() {
	store := newMemory()
	device := matrix.New(e2ee.Env{Now: time.Now, Rand: rand.Reader}, "@alice:example.org", "KITCHEN")

	var due []matrix.Req
	err := store.update(func(tx e2ee.Tx) (err error) { due, err = device.Outgoing(tx); return err })
	if err != nil {
		log.Fatal(err)
	}
	for _, req := range due {
		fmt.Println(req.Method, req.Path)
		// The request goes to the server over HTTP; this is its answer.
		ans := matrix.Ans{Body: []byte(`{"one_time_key_counts":{"signed_curve25519":50}}`)}
		err := store.update(func(tx e2ee.Tx) error { _, err := device.Done(tx, req, ans); return err })
		if err != nil {
			log.Fatal(err)
		}
	}
	// Output: POST /_matrix/client/v3/keys/upload
}
