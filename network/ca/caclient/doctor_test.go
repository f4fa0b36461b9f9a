package caclient_test

import (
	"net/http"
	"testing"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/middle"
)

// findings returns what the doctor says, by name; each bad one has a remedy.
func (p *person) findings() map[string]bool {
	p.t.Helper()
	list, err := p.s.Examine(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	out := map[string]bool{}
	for _, f := range list {
		out[f.Name] = f.OK
		if f.Text == "" || !f.OK && f.Remedy == "" {
			p.t.Errorf("got %+v, want what was found and what to do", f)
		}
	}
	return out
}

// TestDoctor: a device that is well, one that has no backup and an unknown
// sister, one that was signed out, and a server that is down.
func TestDoctor(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice := meets(t, p.URL, "alice").runs()
	got := alice.findings()
	for _, name := range []string{"server", "clock", "login", "revocations", "keys", "own-devices", "unread"} {
		if !got[name] {
			t.Errorf("%s: got a bad finding, or none: %v", name, got)
		}
	}
	if ok, there := got["backup"]; ok || !there {
		t.Errorf("got %v, want a word on the backup that is missing", got)
	}
	if _, err := alice.s.CreateBackup(t.Context()); err != nil {
		t.Fatal(err)
	}
	sister := another(t, p.URL, "alice")
	verifiable, err := alice.s.Devices(t.Context(), "")
	if err != nil || len(verifiable) != 2 {
		t.Fatalf("got %+v %v, want two devices", verifiable, err)
	}
	if got := alice.findings(); !got["backup"] {
		t.Errorf("got %v, want the backup well", got)
	}
	if err := alice.s.SignOut(t.Context(), sister.device(), password); err != nil {
		t.Fatal(err)
	}
	if got := sister.findings(); got["login"] || !got["server"] {
		t.Errorf("got %v, want the login to be over", got)
	}
	p.Before(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusBadGateway); return true })
	if got := alice.findings(); got["server"] || len(got) != 1 {
		t.Errorf("got %v, want the server alone", got)
	}
}
