// Package incoming is the incoming half of HTTP that the server halves share:
// where a request came from and whose token it carries, its body within a
// bound, passwords, and what an error of the core says to a caller.
//
// What goes over the wire is for each network: errors of this package are few
// and plain, and a network gives them its own codes.
package incoming

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
)

// Errors of this package.
var (
	// ErrNoToken: the request carries no bearer token.
	ErrNoToken = errors.New("incoming: no token")
	// ErrToken: the token is not known, not any more, or another network's.
	ErrToken = errors.New("incoming: the token is not known")
	// ErrPassword: there is no such account, or the password is another.
	ErrPassword = errors.New("incoming: the user name or the password is wrong")
	// ErrCode: there is no such account, or the code is not its login code now.
	ErrCode = errors.New("incoming: the login code is wrong or has expired")
	// ErrLarge: the body is larger than its bound.
	ErrLarge = errors.New("incoming: the body is too large")
	// ErrCut: the body ended before it was whole.
	ErrCut = errors.New("incoming: the body could not be read to its end")
)

// Addr returns the address that a request came from, without the port.
func Addr(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// Owner returns whose token a request carries, and notes now and then that the
// device was seen. known says of which users tokens count.
func Owner(core *server.Core, r *http.Request, known func(quinta.UserID) bool) (device.Owner, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token = strings.TrimSpace(token); !ok || token == "" {
		return device.Owner{}, ErrNoToken
	}
	var o device.Owner
	err := core.Peek(r.Context(), func(tx *db.Tx) (err error) {
		o, err = device.ByToken(tx, token)
		return err
	})
	if errors.Is(err, device.ErrNoToken) || err == nil && !known(o.User) {
		return device.Owner{}, ErrToken
	}
	if err == nil && core.Now().UnixMilli()-o.Seen > device.SeenStep {
		err = core.Update(r.Context(), func(tx *db.Tx) error { return device.Saw(tx, o.User, o.Device, Addr(r)) })
	}
	return o, err
}

// Password checks the password of an account, bounded per address and account.
// A wrong name and a wrong password give ErrPassword in the same time. wait is
// when to try again, if that is not now. A hash of an earlier version that
// matches is replaced by one that [Digest] can use.
func Password(ctx context.Context, core *server.Core, addr string, name account.Name, password string) (wait time.Duration, err error) {
	hash, wait, err := stored(ctx, core, addr, name)
	if wait > 0 || err != nil {
		return wait, err
	}
	if !core.Passwords.Matches(hash, password) {
		return 0, ErrPassword
	}
	if !hash.Outdated() {
		return 0, nil
	}
	fresh, err := core.Passwords.Hash(core.Rand, password)
	if err != nil {
		return 0, err
	}
	return 0, core.Update(ctx, func(tx *db.Tx) error { return account.Replace(tx, name, hash, fresh) })
}

// Digest is Password for clients that send the lower-case hexadecimal SHA-256
// of the password in its place. Where the account's hash is of an earlier
// version it gives ErrPassword and tells the operator.
func Digest(ctx context.Context, core *server.Core, addr string, name account.Name, digest string) (wait time.Duration, err error) {
	hash, wait, err := stored(ctx, core, addr, name)
	if wait > 0 || err != nil {
		return wait, err
	}
	if core.Passwords.MatchesDigest(hash, digest) {
		return 0, nil
	}
	if hash.Outdated() {
		core.Log.Warn("server: a login with the digest of a password was refused, because the stored hash is of an earlier version",
			"account", name, "hint", "log in once with a client that sends the password, or set it with 'quintad user password'")
	}
	return 0, ErrPassword
}

// Code checks a login code of an account on a network and uses it up, bounded
// per address and account. A wrong name, a wrong code and one that has expired
// give ErrCode. wait is when to try again, if that is not now.
func Code(ctx context.Context, core *server.Core, network quinta.NetworkName, addr string, name account.Name, code string) (wait time.Duration, err error) {
	if wait := allow(core, addr, name); wait > 0 {
		return wait, nil
	}
	right := false
	err = core.Update(ctx, func(tx *db.Tx) (err error) {
		right, err = account.UseCode(tx, network, name, code)
		return err
	})
	if err == nil && !right {
		err = ErrCode
	}
	return 0, err
}

// allow bounds the logins of an address and of an account.
func allow(core *server.Core, addr string, name account.Name) time.Duration {
	wait := core.Limits.Allow("login", addr, server.RateLogin, 1)
	return max(wait, core.Limits.Allow("login-account", string(name), server.RateLogin, 1))
}

// stored returns the hash to compare with, or how long to wait.
func stored(ctx context.Context, core *server.Core, addr string, name account.Name) (hash account.PasswordHash, wait time.Duration, err error) {
	if wait := allow(core, addr, name); wait > 0 {
		return hash, wait, nil
	}
	err = core.Peek(ctx, func(tx *db.Tx) (err error) {
		hash, err = account.Stored(tx, name)
		return err
	})
	return hash, 0, err
}

// Body returns the whole body of a request, at most limit bytes.
func Body(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, ErrLarge
	}
	var b bytes.Buffer
	if r.ContentLength > 0 {
		b.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	_, err := b.ReadFrom(http.MaxBytesReader(w, r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, ErrLarge
	}
	if err != nil {
		return nil, ErrCut
	}
	return b.Bytes(), nil
}

// Int reads a whole number of a query, which is def if it is absent and is
// lowered to most. ok is false for what is no number of at least least.
func Int(s string, def, least, most int64) (n int64, ok bool) {
	if s == "" {
		return def, true
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return min(n, most), err == nil && n >= least
}

// Text returns the kind of an error of the core and what a caller is told of
// it; an error of KindInternal tells nothing.
func Text(err error) (quinta.Kind, string) {
	kind := quinta.KindOf(err)
	if kind == quinta.KindInternal {
		return kind, "internal error"
	}
	if qe, ok := errors.AsType[*quinta.Error](err); ok && qe.Err != nil {
		return kind, qe.Err.Error()
	}
	return kind, kind.String()
}

// RetryAfter sets the header that says when to try again, in whole seconds.
func RetryAfter(h http.Header, wait time.Duration) {
	if wait > 0 {
		h.Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
}

// Write writes a whole answer. That a client went away is no fault.
func Write(w http.ResponseWriter, log *slog.Logger, status int, contentType string, raw []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(status)
	if _, err := w.Write(raw); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		log.Debug("server: an answer was not taken", "err", err)
	}
}
