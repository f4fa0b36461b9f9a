package servers_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A door is a call of one network by which an account's password can be tried.
type door struct {
	method, path string
	// ask makes the body and the headers of a try, as what a device does.
	ask func(password string) (io.Reader, http.Header)
}

// doors are all calls that take a password without a login.
var doors = map[string]door{
	"matrix": {"POST", "/_matrix/client/v3/login", func(password string) (io.Reader, http.Header) {
		return strings.NewReader(fmt.Sprintf(`{"type":"m.login.password","identifier":{"type":"m.id.user","user":"mallory"},"password":%q,"device_id":"M"}`, password)), nil
	}},
	"ca": {"POST", "/ca/v1/login", func(password string) (io.Reader, http.Header) {
		return strings.NewReader(fmt.Sprintf(`{"username":"mallory","password":%q,"device":"M"}`, password)), nil
	}},
	"rocketchat": {"POST", "/api/v1/login", func(password string) (io.Reader, http.Header) {
		return strings.NewReader(fmt.Sprintf(`{"user":"mallory","password":%q}`, password)), nil
	}},
	"est": {"POST", "/.well-known/est/simpleenroll", func(password string) (io.Reader, http.Header) {
		return strings.NewReader("AAAA"), http.Header{
			"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("mallory:"+password))}, "Content-Type": {"application/pkcs10"}}
	}},
}

// TestAttackLockOut: on every network's login, an attacker at full speed from
// one address and from twenty never keeps the owner out for more than two
// seconds, from a hundred not at an address from which the owner logged in
// before, and never gets more than 600 guesses in an hour.
func TestAttackLockOut(t *testing.T) {
	t.Parallel()
	for name, d := range doors {
		for _, addresses := range []int{1, 20, 100} {
			t.Run(fmt.Sprint(name, addresses), func(t *testing.T) {
				t.Parallel()
				p := newPayer(t)
				try := func(addr, password string) (status int, wait time.Duration) {
					body, h := d.ask(password)
					w := p.call(d.method, d.path, addr, h, body)
					seconds, err := strconv.Atoi(w.Header().Get("Retry-After"))
					if (w.Code == http.StatusTooManyRequests) != (err == nil) {
						t.Fatalf("got %d %.200s, Retry-After %q", w.Code, w.Body, w.Header().Get("Retry-After"))
					}
					return w.Code, time.Duration(seconds) * time.Second
				}
				// What a right password gives: EST then judges the request.
				right, _ := try("203.0.113.1", "right")
				if right == http.StatusUnauthorized || right == http.StatusTooManyRequests {
					t.Fatalf("the right password: got %d", right)
				}
				owner := "203.0.113.2"
				if addresses > 20 {
					owner = "203.0.113.1"
				}
				const step = 20 * time.Second
				guesses := 0
				for i := range int(time.Hour / step) {
					for a := range addresses {
						for range 3 {
							if status, _ := try(fmt.Sprintf("192.0.2.%d", a), "wrong"); status == http.StatusUnauthorized || status == http.StatusForbidden {
								guesses++
							} else if status != http.StatusTooManyRequests {
								t.Fatalf("a wrong password: got %d", status)
							} else {
								break
							}
						}
					}
					if i%10 == 9 {
						if status, wait := try(owner, "right"); wait > 2*time.Second || wait == 0 && status != right {
							t.Fatalf("after %v the owner gets %d and waits for %v", time.Duration(i)*step, status, wait)
						}
					}
					p.clock.Add(step.Milliseconds())
				}
				if guesses > 600 || guesses < 8 {
					t.Errorf("%d guesses in an hour, want from 8 to 600", guesses)
				}
			})
		}
	}
}
