package mtprotoserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gotd/td/exchange"

	"github.com/quinta-chat/quinta/network/mtproto/mtprotoserver"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
	"github.com/quinta-chat/quinta/quintatest"
)

// keyFile writes a PEM block to a file.
func keyFile(t *testing.T, b *pem.Block) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newRSA(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func pkcs8(t *testing.T, k any) []byte {
	t.Helper()
	b, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSeveralKeys: with two keys from files, a client that knows either makes a
// key with the server, and the operator is shown both.
func TestSeveralKeys(t *testing.T) {
	one, two := newRSA(t, 2048), newRSA(t, 2048)
	files := keyFile(t, &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(one)}) + "," + keyFile(t, &pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8(t, two)})
	s := start(t, quintatest.Setting("mtproto-key", files))
	shown := command(t, s, "mtproto key", nil)
	for _, k := range []*rsa.PrivateKey{one, two} {
		if !strings.Contains(shown, string(wire.PublicPEM(&k.PublicKey))) {
			t.Errorf("a key is not shown: %s", shown)
		}
		if _, err := exchange.NewExchanger(plain(t, s, 2), 2).WithRand(rand.Reader).Client([]exchange.PublicKey{{RSA: &k.PublicKey}}).Run(t.Context()); err != nil {
			t.Errorf("a client that knows one of the keys: %v", err)
		}
	}
}

// TestBadKeyFiles: each is refused when the settings are checked, with a reason
// that has nothing of the key.
func TestBadKeyFiles(t *testing.T) {
	t.Parallel()
	good := newRSA(t, 2048)
	twice := keyFile(t, &pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8(t, good)})
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var check func(string) error
	for _, setting := range mtprotoserver.Network.Settings {
		if setting.Name == "mtproto-key" {
			check = setting.Check
		}
	}
	for name, c := range map[string]struct{ files, want string }{
		"1024 bits":              {keyFile(t, &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(newRSA(t, 1024))}), "2048 bits"},
		"another kind of key":    {keyFile(t, &pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8(t, ec)}), "RSA"},
		"a passphrase":           {keyFile(t, &pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}), "passphrase"},
		"a passphrase, old form": {keyFile(t, &pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"DEK-Info": "AES-128-CBC,00"}, Bytes: []byte("x")}), "passphrase"},
		"a public key":           {keyFile(t, &pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&good.PublicKey)}), "private"},
		"not PEM":                {os.Args[0], "PEM"},
		"missing":                {filepath.Join(t.TempDir(), "none"), "no such file"},
		"the same twice":         {twice + "," + twice, "twice"},
	} {
		if err := check(c.files); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
	if err := check(twice); err != nil {
		t.Error(err)
	}
}
