package keyexport_test

import (
	"crypto/rand"
	"fmt"
	"log"
	"strings"

	"github.com/quinta-chat/quinta/e2ee/keyexport"
)

// The sessions of one device go into a file that every Matrix client reads.
func Example() {
	sessions := []keyexport.Session{{RoomID: "!house:example.org", SessionID: "the session", SessionKey: "its key"}}
	file, err := keyexport.Seal(rand.Reader, sessions, "correct horse battery staple", keyexport.MinRounds)
	if err != nil {
		log.Fatal(err)
	}
	head, _, _ := strings.Cut(string(file), "\n")
	fmt.Println(head)

	again, _, err := keyexport.Open(file, "correct horse battery staple")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(again[0])
	// Output:
	// -----BEGIN MEGOLM SESSION DATA-----
	// session(!house:example.org the session, [redacted])
}
