//go:build peers

package xmpp_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/testkit/peer/quintad"
	"github.com/quinta-chat/quinta/testkit/peer/xmpphost"
)

// TestWrongSecret: a component whose secret the XMPP server refuses, or whose
// name it does not know, says so in one clear line without the secret, and the
// server serves on.
func TestWrongSecret(t *testing.T) {
	t.Parallel()
	for _, k := range xmpphost.Kinds {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			x := xmpphost.New(t, k)
			file := filepath.Join(t.TempDir(), "secret")
			const wrong = "not-the-secret-of-the-component"
			if err := os.WriteFile(file, []byte(wrong+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			keys := quintad.Start(t, quintad.Config{Args: []string{"--xmpp-component", component + "@" + x.Component, "--xmpp-secret", file}})
			lines := keys.Command("xmpp", "setup", k.Name, "--new", "on", "--port", x.ComponentPort())
			if strings.Contains(lines, wrong) {
				t.Fatal("a new secret was asked for")
			}
			x.Configure(lines)
			x.Start()
			for end := time.Now().Add(60 * time.Second); !strings.Contains(keys.Log(), "refuses the component's secret"); time.Sleep(100 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("nothing says that the secret is wrong:\n%s", keys.Log())
				}
			}
			if strings.Contains(keys.Log(), wrong) {
				t.Error("the log has the secret")
			}
			if out := keys.Command("xmpp", "show"); !strings.Contains(out, component) {
				t.Errorf("got %s", out)
			}
		})
	}
}
