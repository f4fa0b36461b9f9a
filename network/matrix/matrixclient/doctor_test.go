package matrixclient_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/client/store/memory"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/network/matrix/matrixclient"
	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/testkit/middle"
)

// finds has the doctor look and returns what it says under a name.
func finds(t *testing.T, d client.Doctor, name string) client.Finding {
	t.Helper()
	found, err := d.Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.OK != (f.Remedy == "") || f.Text == "" {
			t.Errorf("got %+v, want a text, and a remedy where it is not well", f)
		}
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("nothing was said about %s: %+v", name, found)
	return client.Finding{}
}

// TestDoctorClock: a clock that is some minutes off, either way, is found and
// said how far; one that is a little off is well.
func TestDoctorClock(t *testing.T) {
	t.Parallel()
	url := quintatest.Start(t).URL
	st := memory.New()
	in := client.Credentials{Server: url, User: "alice", Password: password}
	if _, err := (matrixclient.Network{}).Register(t.Context(), st, env, in); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		off  time.Duration
		well bool
		says string
	}{
		{0, true, "agrees"},
		{time.Minute, true, "agrees"},
		{-time.Minute, true, "agrees"},
		{10 * time.Minute, false, "apart"},
		{-10 * time.Minute, false, "apart"},
		{-30 * 24 * time.Hour, false, "apart"},
	} {
		s, err := matrixclient.Network{}.Open(t.Context(), st, e2ee.Env{Now: func() time.Time { return time.Now().Add(c.off) }, Rand: env.Rand})
		if err != nil {
			t.Fatal(err)
		}
		f := finds(t, s.(client.Doctor), "clock")
		if f.OK != c.well || !strings.Contains(f.Text, c.says) || !c.well && !strings.Contains(f.Remedy, "clock") {
			t.Errorf("a clock %s off: got %+v, want well %v and %q", c.off, f, c.well, c.says)
		}
		if _, rest, found := strings.Cut(f.Text, "are "); !c.well && found {
			apart, err := time.ParseDuration(strings.Fields(rest)[0])
			if err != nil || (apart-c.off.Abs()).Abs() > time.Minute {
				t.Errorf("a clock %s off: got %q, %v, want about that", c.off, f.Text, err)
			}
		}
	}
}

// TestDoctorNoDate: a server that does not tell its time is not blamed for it.
func TestDoctorNoDate(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice := meets(t, p.URL, "alice")
	p.Before(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/_matrix/client/versions" {
			return false
		}
		w.Header()["Date"] = nil
		fmt.Fprint(w, `{"versions":["v1.11"]}`)
		return true
	})
	again := resumes(t, matrixclient.Network{}, alice.st)
	if f := finds(t, again.s, "clock"); !f.OK || !strings.Contains(f.Text, "does not report") {
		t.Errorf("got %+v, want that the time is not known", f)
	}
}

// TestDoctorSync: a sync that fails is found with what the server said, and
// the rest is looked at all the same.
func TestDoctorSync(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice := meets(t, p.URL, "alice")
	if f := finds(t, alice.s, "sync"); !f.OK || !strings.Contains(f.Text, "answered in") {
		t.Errorf("got %+v, want it well, and how long it took", f)
	}
	for _, c := range []struct {
		status     int
		body, says string
	}{
		{http.StatusInternalServerError, `{"errcode":"M_UNKNOWN","error":"the disk is full"}`, "the disk is full"},
		{http.StatusBadGateway, "<html>bad gateway</html>", "502"},
		{http.StatusForbidden, `{"errcode":"M_FORBIDDEN","error":"not today"}`, "not today"},
		{http.StatusOK, `[1,`, "malformed"},
		{http.StatusOK, `{}`, "next_batch"},
	} {
		p.Before(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/sync") {
				return false
			}
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.body)
			return true
		})
		if f := finds(t, alice.s, "sync"); f.OK || !strings.Contains(f.Text, c.says) {
			t.Errorf("%d %s: got %+v, want that it fails, with %q", c.status, c.body, f, c.says)
		}
		if f := finds(t, alice.s, "device-keys"); !f.OK {
			t.Errorf("got %+v, want the rest well", f)
		}
	}
	p.Before(nil)
	if f := finds(t, alice.s, "sync"); !f.OK {
		t.Errorf("got %+v, want it well again", f)
	}
}

// TestDoctorUnreached: where the server is not reached, that is the one
// finding.
func TestDoctorUnreached(t *testing.T) {
	t.Parallel()
	p := middle.Start(t, quintatest.Start(t).URL)
	alice := meets(t, p.URL, "alice")
	p.Before(func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	again := resumes(t, matrixclient.Network{}, alice.st)
	found, err := again.s.Examine(t.Context())
	if err != nil || len(found) != 1 || found[0].Name != "server" || found[0].OK || found[0].Remedy == "" {
		t.Errorf("got %+v, %v, want that the server is not reached, and a remedy", found, err)
	}
}
