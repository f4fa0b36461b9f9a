package attachment_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/quinta-chat/quinta/e2ee/attachment"
)

// Alice uploads a file and puts its description into an encrypted message;
// Bob downloads it into a temporary file and reads it.
func Example() {
	var server bytes.Buffer
	upload, err := attachment.NewSealReader(rand.Reader, strings.NewReader("the plans of the house"))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(&server, upload); err != nil {
		log.Fatal(err)
	}
	file, err := upload.File("mxc://example.org/plans")
	if err != nil {
		log.Fatal(err)
	}
	message := file.Encode() // the value of "file" in the message

	received, err := attachment.Parse(message)
	if err != nil {
		log.Fatal(err)
	}
	store, err := os.CreateTemp("", "plans")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(store.Name())
	defer store.Close()
	plain, err := attachment.Receive(received, &server, 1<<20, store)
	if err != nil {
		log.Fatal(err)
	}
	text, err := io.ReadAll(plain)
	fmt.Println(string(text), err)
	// Output: the plans of the house <nil>
}
