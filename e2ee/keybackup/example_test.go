package keybackup_test

import (
	"crypto/rand"
	"fmt"
	"log"

	"github.com/quinta-chat/quinta/e2ee/keybackup"
	"github.com/quinta-chat/quinta/key"
)

// A new backup: the owner writes the recovery key down, and types it in on
// their next device.
func Example() {
	private, err := key.GenerateAgreement[key.Backup](rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	paper := keybackup.RecoveryKey(private)
	onServer := keybackup.NewAuthData(private.Public())

	typed, err := keybackup.ParseRecoveryKey(paper)
	if err != nil {
		log.Fatal(err)
	}
	auth, err := keybackup.ParseAuthData(onServer)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(paper), auth.Matches(typed))
	// Output: 59 <nil>
}
