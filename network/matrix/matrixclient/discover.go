package matrixclient

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/matrix/wire"
)

// featuresFor is how long what a server said of itself is believed.
const featuresFor = time.Hour

// features are what a server says that it can do.
type features struct {
	at       time.Time
	versions []string
	// legacy: the server knows only the paths of the r0 versions.
	legacy bool
	// media: files are fetched with a token (version 1.11).
	media bool
	// stateAfter is the parameter of /sync with which the server tells the
	// state at the end of a timeline; empty if it does not (version 1.16).
	stateAfter string
	// skew is the server's clock minus ours; known only if it sent a date.
	skew    time.Duration
	hasDate bool
}

// features asks the server what it can do, once in a while.
func (c *conn) features(ctx context.Context) (*features, error) {
	c.mu.Lock()
	f := c.known
	c.mu.Unlock()
	if f != nil && c.now().Sub(f.at) < featuresFor {
		return f, nil
	}
	const op = "asking the server for its versions"
	a, err := c.call(ctx, op, request{method: http.MethodGet, path: "/_matrix/client/versions", open: true})
	if err != nil {
		return nil, err
	}
	var v wire.Versions
	if err := a.decode(op, &v); err != nil {
		return nil, err
	}
	if len(v.Versions) == 0 {
		return nil, quinta.E(quinta.KindMalformed, op, "this is not a Matrix homeserver: it announces no versions")
	}
	f = &features{at: c.now(), versions: v.Versions, legacy: !since(v.Versions, 1), media: since(v.Versions, 11) || v.Unstable["org.matrix.msc3916.stable"]}
	switch {
	case since(v.Versions, 16):
		f.stateAfter = "use_state_after"
	case v.Unstable["org.matrix.msc4222"]:
		f.stateAfter = "org.matrix.msc4222.use_state_after"
	}
	if d, err := http.ParseTime(a.header.Get("Date")); err == nil {
		f.skew, f.hasDate = d.Sub(c.now()), true
	}
	c.mu.Lock()
	c.known = f
	c.mu.Unlock()
	return f, nil
}

// since reports whether one of versions is v1.minor or later.
func since(versions []string, minor int) bool {
	for _, v := range versions {
		major, rest, ok := strings.Cut(strings.TrimPrefix(v, "v"), ".")
		if !ok || !strings.HasPrefix(v, "v") {
			continue
		}
		ma, err1 := strconv.Atoi(major)
		mi, err2 := strconv.Atoi(rest)
		if err1 == nil && err2 == nil && (ma > 1 || ma == 1 && mi >= minor) {
			return true
		}
	}
	return false
}

// route rewrites a path for a server that knows only the r0 paths.
func (c *conn) route(path string) string {
	c.mu.Lock()
	f := c.known
	c.mu.Unlock()
	if f == nil || !f.legacy {
		return path
	}
	if rest, ok := strings.CutPrefix(path, clientAPI+"/"); ok {
		return "/_matrix/client/r0/" + rest
	}
	if rest, ok := strings.CutPrefix(path, "/_matrix/media/v3/"); ok {
		return "/_matrix/media/r0/" + rest
	}
	return path
}

// discover finds the homeserver of what a person typed: a URL, a server name,
// or nothing and a whole user id (client-server API, "Server discovery"). It
// returns a connection to it that has no token yet.
func discover(ctx context.Context, rt http.RoundTripper, now func() time.Time, server, user string) (*conn, error) {
	const op = "finding the server"
	server = strings.TrimSpace(server)
	if server == "" {
		_, name, ok := wire.SplitUserID(quinta.UserID(user))
		if !ok {
			return nil, quinta.E(quinta.KindInvalid, op, "name a server, or give the user as @name:server")
		}
		server = name
	}
	byName := !strings.Contains(server, "://")
	if byName {
		scheme := "https://"
		if u, err := url.Parse("//" + server); err == nil && dial.Loopback(u.Hostname()) {
			scheme, byName = "http://", false
		}
		server = scheme + server
	}
	base, err := dial.CheckBase(server)
	if err != nil {
		return nil, err
	}
	if !byName {
		c := newConn(rt, base, client.Secret{}, now)
		_, err := c.features(ctx)
		if err == nil {
			return c, nil
		}
		// A person may have typed the address of the server's web site.
		if k := quinta.KindOf(err); k != quinta.KindNotFound && k != quinta.KindMalformed {
			return nil, err
		}
	}
	named, err := wellKnown(ctx, rt, base, now)
	if err != nil {
		return nil, err
	}
	if named != "" {
		base = named
	}
	c := newConn(rt, base, client.Secret{}, now)
	if _, err := c.features(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// wellKnown returns the address that a server name's web site gives, or "" if
// it gives none. Redirects are followed, to https only: there is no secret in
// this request.
func wellKnown(ctx context.Context, rt http.RoundTripper, site string, now func() time.Time) (string, error) {
	const op = "asking for /.well-known/matrix/client"
	c := newConn(rt, site, client.Secret{}, now)
	defer c.close()
	c.http.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if len(via) > 5 || r.URL.Scheme != "https" {
			return errors.New("too many redirects, or a redirect to plain http")
		}
		return nil
	}
	a, err := c.call(ctx, op, request{method: http.MethodGet, path: "/.well-known/matrix/client", open: true, max: maxError})
	if quinta.KindOf(err) == quinta.KindNotFound {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var v wire.WellKnown
	if err := a.decode(op, &v); err != nil {
		return "", err
	}
	if v.Homeserver.BaseURL == "" {
		return "", quinta.E(quinta.KindMalformed, op, "it names no homeserver")
	}
	return dial.CheckBase(v.Homeserver.BaseURL)
}
