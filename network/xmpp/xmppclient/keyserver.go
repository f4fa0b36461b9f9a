package xmppclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/key"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

// A keyServer makes the calls of the key server.
type keyServer struct {
	http *http.Client
	env  e2ee.Env
	sign key.DeviceSigningPrivate

	mu sync.Mutex
	// token serves until expires, both by the key server's clock, which is
	// ahead of this device's by ahead.
	token   string
	base    string
	expires time.Time
	ahead   time.Duration
}

// spare is how long before its end a token is not used any more.
const spare = 30 * time.Second

// session returns a token and the address of the calls; it asks the component
// for a token if there is none that serves.
func (k *keyServer) session(ctx context.Context, c *connection, component string) (token, base string, now time.Time, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now = k.env.Now().Add(k.ahead)
	if k.token != "" && now.Add(spare).Before(k.expires) {
		return k.token, k.base, now, nil
	}
	const op = "asking the key server for a token"
	to, err := jid.Parse(component)
	if err != nil {
		return "", "", now, quinta.E(quinta.KindInvalid, op, "the key server has no valid name")
	}
	var t wire.Token
	err = c.askWith(ctx, k.env.Rand, to, stanza.GetIQ, &wire.Token{Thumbprint: keysrv.Thumbprint(k.sign.Public())}, &t)
	if se, refused := errors.AsType[stanza.Error](err); refused {
		kind := quinta.KindUnavailable
		if se.Condition == stanza.Forbidden {
			kind = quinta.KindForbidden
		}
		return "", "", now, quinta.E(kind, op, "the key server refuses: "+string(se.Condition)+sentence(se))
	}
	if err != nil {
		return "", "", now, err
	}
	expires, eerr := time.Parse(time.RFC3339, t.Expires)
	theirs, nerr := time.Parse(time.RFC3339Nano, t.Now)
	if base, err = dial.CheckBase(t.Href); err != nil || eerr != nil || nerr != nil || t.Value == "" || len(t.Value) > 4096 || strings.ContainsAny(t.Value, " \r\n\t") {
		return "", "", now, quinta.E(quinta.KindUnavailable, op, "the key server's answer is malformed: it must have an https address and a token")
	}
	k.token, k.base, k.expires, k.ahead = t.Value, base, expires, theirs.Sub(k.env.Now())
	return k.token, k.base, k.env.Now().Add(k.ahead), nil
}

// sentence is what a refusal says, in one line.
func sentence(e stanza.Error) string {
	for _, text := range e.Text {
		text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
		if len(text) > 200 {
			text = strings.ToValidUTF8(text[:200], "")
		}
		return ": " + text
	}
	return ""
}

// drop forgets a token that was refused.
func (k *keyServer) drop(token string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.token == token {
		k.token = ""
	}
}

// skew is how far the key server's clock is ahead, as far as is known.
func (k *keyServer) skew() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ahead
}

// call makes a call with JSON on both sides; in and out may be nil. A refusal
// is a *wire.Error inside of a *quinta.Error.
func (k *keyServer) call(ctx context.Context, c *connection, component, op, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return quinta.E(quinta.KindInternal, op, "a request cannot be written")
		}
		body = b
	}
	for try := 0; ; try++ {
		token, base, now, err := k.session(ctx, c, component)
		if err != nil {
			return err
		}
		raw, err := k.once(ctx, op, method, base, path, token, now, body)
		if quinta.KindOf(err) == quinta.KindUnauthenticated && try == 0 {
			k.drop(token)
			continue
		}
		if quinta.KindOf(err) == quinta.KindUnauthenticated {
			return quinta.E(quinta.KindUnavailable, op, "the key server does not accept its own tokens: check its address and the clocks")
		}
		if err != nil || out == nil {
			return err
		}
		if err := wire.Decode(raw, out); err != nil {
			return quinta.E(quinta.KindUnavailable, op, "the key server's answer is not the JSON that this call returns")
		}
		return nil
	}
}

// once makes a call with a proof of its own.
func (k *keyServer) once(ctx context.Context, op, method, base, path, token string, now time.Time, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, dial.AnswerWithin, dial.ErrSlow)
	defer cancel()
	r, err := k.request(ctx, op, method, base, path, token, now, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := k.http.Do(r)
	if err != nil {
		return nil, dial.Broken(ctx, op, err)
	}
	defer resp.Body.Close()
	raw, err := dial.ReadAll(resp.Body, wire.MaxAnswer)
	if err != nil {
		return nil, dial.Broken(ctx, op, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, refusalOf(op, resp.StatusCode, raw)
	}
	return raw, nil
}

// request makes a request with a proof of its own.
func (k *keyServer) request(ctx context.Context, op, method, base, path, token string, now time.Time, body io.Reader) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, base+path, body)
	if err != nil {
		return nil, quinta.E(quinta.KindInvalid, op, "the request has no valid address")
	}
	whole := *r.URL
	whole.RawQuery = ""
	proof, err := keysrv.NewProof(k.env.Rand, k.sign, method, whole.String(), token, now)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "quinta")
	r.Header.Set("Authorization", wire.SchemeProof+" "+token)
	r.Header.Set(wire.HeaderProof, proof)
	return r, nil
}

// refusalOf reads a refusal.
func refusalOf(op string, status int, raw []byte) error {
	we := wire.ParseError(status, raw)
	return &quinta.Error{Kind: kindOf(we), Op: op, Err: we}
}

// kindOf turns a refusal into the words of the core. What has no code of this
// network is trouble on the way.
func kindOf(e *wire.Error) quinta.Kind {
	for kind, row := range wire.Kinds {
		if row.Code == e.Code && kind != quinta.KindInternal {
			return kind
		}
	}
	switch e.Code {
	case wire.CodeUnapproved, wire.CodeMode, wire.CodeRoom:
		return quinta.KindForbidden
	case wire.CodeStale:
		return quinta.KindConflict
	case "", wire.CodeInternal:
		return quinta.KindUnavailable
	}
	return quinta.KindInvalid
}
