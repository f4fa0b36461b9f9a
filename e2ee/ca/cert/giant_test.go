package cert_test

import (
	"errors"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/testkit/giant"
)

// TestGiantKeys: keys of any size that a stranger may choose cost nothing.
func TestGiantKeys(t *testing.T) {
	const most = 5 * time.Millisecond
	for _, bits := range []int{16_384, 100_000} {
		for what, parse := range map[string]func() error{
			"a request":    func() error { _, err := cert.ParseRequest(giant.Request(bits), cert.Identity{}); return err },
			"a legacy key": func() error { _, err := cert.ParseLegacyKey(giant.PublicKey(bits)); return err },
		} {
			took, err := giant.Fastest(parse)
			if !errors.Is(err, cert.ErrUnsupported) && !errors.Is(err, cert.ErrMalformed) || took > most {
				t.Errorf("%s of %d bits: got %v after %s, want it refused within %s", what, bits, err, took, most)
			}
		}
	}
}
