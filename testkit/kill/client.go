package kill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// limit bounds one request; a long poll lasts two seconds of it.
const limit = 15 * time.Second

// pause is how long a client waits before it repeats a request that had no
// answer, so that a server that is away is not asked in a tight loop.
const pause = 20 * time.Millisecond

// A client is one device of one user.
type client struct {
	// url is the base of all calls of the client's network.
	url, user, device, token string
	// head, if not nil, is what its requests carry in the place of a token of
	// their own header.
	head http.Header
	http *http.Client
}

// A refusal is an answer of the server that is not 2xx.
type refusal struct {
	status int
	// Errcode and Error are what Matrix says, Type and Detail the CA network,
	// ErrorType and Error Rocket.Chat.
	Errcode   string
	Error     string
	Type      string
	Detail    string
	ErrorType string
}

func (r *refusal) String() string {
	return fmt.Sprintf("%d %s: %s", r.status, r.Errcode+r.Type+r.ErrorType, r.Error+r.Detail)
}

// do makes one request. It returns the refusal if the server answered one, or
// an error if no whole answer came, in which case no one knows whether the
// request was carried out.
func (c *client) do(ctx context.Context, method, path string, body, result any) (*refusal, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	if c.head != nil {
		req.Header = c.head.Clone()
		req.Header.Set("Content-Type", "application/json")
	} else if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		r := &refusal{status: resp.StatusCode}
		if err := json.Unmarshal(answer, r); err != nil {
			return nil, fmt.Errorf("%s %s: status %d without an error object: %w", method, path, resp.StatusCode, err)
		}
		return r, nil
	}
	if result == nil {
		return nil, nil
	}
	return nil, json.Unmarshal(answer, result)
}

// errBroken says that the server refused what a healthy one accepts.
var errBroken = errors.New("kill: the server refuses a good request")

// until repeats a request, the same each time, until it is answered well. An
// answer of 5xx is counted and repeated like no answer; any other refusal is
// an error.
func (l *Load) until(ctx context.Context, c *client, method, path string, body, result any) error {
	for {
		r, err := c.do(ctx, method, path, body, result)
		switch {
		case err == nil && r == nil:
			l.answered()
			return nil
		case r != nil && r.status < 500:
			return fmt.Errorf("%w: %s %s: %s", errBroken, method, path, r)
		case r != nil:
			l.refused.Add(1)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// setUp makes an account on the node at url, and its device's keys.
func (l *Load) setUp(ctx context.Context, url, name string) (*client, error) {
	c := &client{url: url + "/_matrix/client/v3", http: l.http}
	var s struct {
		UserID      string `json:"user_id"`
		DeviceID    string `json:"device_id"`
		AccessToken string `json:"access_token"`
	}
	body := map[string]any{"username": name, "password": "a good password for " + name, "auth": map[string]string{"type": "m.login.dummy"}}
	if err := l.until(ctx, c, "POST", "/register", body, &s); err != nil {
		return nil, err
	}
	c.user, c.device, c.token = s.UserID, s.DeviceID, s.AccessToken
	device := map[string]any{
		"user_id": c.user, "device_id": c.device,
		"algorithms": []string{"m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"},
		"keys": map[string]string{
			"ed25519:" + c.device:    l.base64(32),
			"curve25519:" + c.device: l.base64(32),
		},
		"signatures": c.signature(l),
	}
	return c, l.until(ctx, c, "POST", "/keys/upload", map[string]any{"device_keys": device}, nil)
}

// signature returns a signatures object of the right form; servers look at
// its form only.
func (c *client) signature(l *Load) map[string]any {
	return map[string]any{c.user: map[string]string{"ed25519:" + c.device: l.base64(64)}}
}
