// Package mtprotoclient is the client half of the secret chat network: one
// device that takes part in secret chats over MTProto 2.0, with a quintad or
// another server of the protocol.
//
// [Network] is its entry in the list of networks: Login makes a new device,
// Open resumes it from its store. A room is a secret chat. Create requests one,
// Join accepts a request, and Leave declines a request or closes a chat;
// nothing is accepted automatically.
//
// Every message leaves sealed or not at all: there is no way to send in clear.
// The server alone says who a person is and when a message was sent. Two people
// can be sure that no one is between them only after they have compared the
// hash of their key; see [Session.Verify].
package mtprotoclient

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/secretchat"
	"github.com/quinta-chat/quinta/internal/printable"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/mtproto/wire"
)

// Network is the client half of the secret chat network. The zero value is
// ready.
type Network struct {
	// Transport carries the request for the server's key, and websockets; nil
	// means one that verifies certificates and uses the proxy of the environment.
	Transport http.RoundTripper
	// DC is the number of the DC to name with a tcp address; 0 means 2.
	DC int
}

var _ client.Keyed = Network{}

// Name returns "mtproto".
func (Network) Name() quinta.NetworkName { return "mtproto" }

// ServerKeyFingerprint reads an RSA public key in PEM and returns its SHA-256 in
// hexadecimal.
func (Network) ServerKeyFingerprint(key []byte) (string, error) {
	k, err := wire.ParsePublicKey(key)
	if err != nil {
		return "", &quinta.Error{Kind: quinta.KindInvalid, Op: "reading the server's key", Err: err}
	}
	return wire.KeyHash(k), nil
}

// Keys of this package in the store. The machine's and the timeline's are
// others.
const (
	keyAccount = "link/account"
	keyIntent  = "link/intent"
)

// account is what the store knows of the login.
type account struct {
	Target target          `json:"target"`
	User   int64           `json:"user"`
	Phone  string          `json:"phone"`
	Device quinta.DeviceID `json:"device"`
	Name   string          `json:"name,omitempty"`
	// Key is the authorization key.
	Key []byte `json:"key"`
}

// intent is a login that was begun: its key is used again after a crash.
type intent struct {
	Target target `json:"target"`
	Phone  string `json:"phone"`
	Key    []byte `json:"key"`
}

const loggingIn = "logging in"

// Login logs a new device in. in.Server is "https://HOST", which says the
// server's key and where it listens, "wss://HOST", which says the key and is
// itself where to connect, or "tcp://HOST:PORT" with in.ServerKey. With
// in.ServerKey, any server of the protocol can be behind a wss address. in.User
// is the number. The login code is requested.
func (n Network) Login(ctx context.Context, st client.Store, env e2ee.Env, in client.Credentials) (quinta.Device, error) {
	plan, err := n.begin(ctx, st, env, in)
	if err != nil {
		return quinta.Device{}, err
	}
	key, err := secretchat.ParseKey(plan.Key)
	if err != nil {
		return quinta.Device{}, e2ee.Damaged(keyIntent)
	}
	c, err := dialer{env, n.Transport}.connect(ctx, plan.Target, key)
	if err != nil {
		return quinta.Device{}, err
	}
	defer c.close()
	user, err := signIn(ctx, c, env.Rand, plan.Phone, in)
	if err != nil {
		return quinta.Device{}, err
	}
	acc := account{Target: plan.Target, User: user, Phone: plan.Phone, Device: quinta.DeviceID(fmt.Sprintf("%016x", uint64(key.Fingerprint()))), Name: deviceName(in), Key: plan.Key}
	err = st.Update(ctx, func(tx e2ee.Tx) error {
		if err := tx.Delete(keyIntent); err != nil {
			return err
		}
		return e2ee.Store(tx, keyAccount, acc)
	})
	return acc.self(), err
}

func deviceName(in client.Credentials) string {
	if in.DeviceName == "" {
		return "Quinta"
	}
	return in.DeviceName
}

func (a account) self() quinta.Device {
	return quinta.Device{User: secretchat.UserID(a.User), ID: a.Device, Name: a.Name}
}

// begin finds the server and makes a key with it, and keeps both.
func (n Network) begin(ctx context.Context, st client.Store, env e2ee.Env, in client.Credentials) (intent, error) {
	phone := digits(in.User)
	if phone == "" {
		return intent{}, quinta.E(quinta.KindInvalid, loggingIn, "on this network, give the user as a number, such as +88800000001")
	}
	var plan intent
	if err := st.View(ctx, func(tx e2ee.Tx) error {
		if b, err := tx.Get(keyAccount); b != nil || err != nil {
			return errors.Join(err, quinta.E(quinta.KindExists, loggingIn, "an account is already logged in here"))
		}
		var err error
		plan, _, err = e2ee.Load[intent](tx, keyIntent)
		return err
	}); err != nil {
		return intent{}, err
	}
	t, err := n.find(ctx, &in)
	if err != nil {
		return intent{}, err
	}
	server, err := wire.ParsePublicKey([]byte(t.PublicKey))
	if err != nil {
		return intent{}, &quinta.Error{Kind: quinta.KindInvalid, Op: loggingIn, Err: err}
	}
	if plan.Target == t && plan.Phone == phone {
		return plan, pin(&in, server)
	}
	key, err := dialer{env, n.Transport}.newKey(ctx, t, server)
	if err != nil {
		return intent{}, err
	}
	if err := pin(&in, server); err != nil {
		return intent{}, err
	}
	plan = intent{Target: t, Phone: phone, Key: key.Bytes()}
	return plan, st.Update(ctx, func(tx e2ee.Tx) error { return e2ee.Store(tx, keyIntent, plan) })
}

// pin asks whether the key of the server is the one that was seen before.
func pin(in *client.Credentials, server *rsa.PublicKey) error {
	if in.Pin == nil {
		return nil
	}
	return in.Pin(strings.TrimSpace(in.Server), wire.KeyHash(server))
}

func digits(phone string) string {
	var b strings.Builder
	for _, r := range phone {
		switch {
		case r >= '0' && r <= '9':
			b.WriteRune(r)
		case !strings.ContainsRune("+ -()", r):
			return ""
		}
	}
	return b.String()
}

// find makes a target of the address that a person typed.
func (n Network) find(ctx context.Context, in *client.Credentials) (target, error) {
	server := strings.TrimSpace(in.Server)
	dc := n.DC
	if dc == 0 {
		dc = 2
	}
	if addr, ok := strings.CutPrefix(server, "tcp://"); ok {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return target{}, quinta.E(quinta.KindInvalid, loggingIn, "the address of the server is tcp://HOST:PORT, wss://HOST or https://HOST")
		}
		if len(in.ServerKey) == 0 {
			return target{}, quinta.E(quinta.KindInvalid, loggingIn, "a tcp address does not include the server's key: give the key as well (--server-key FILE), or the server's web address")
		}
		return target{Addr: addr, DC: dc, PublicKey: string(in.ServerKey)}, nil
	}
	web := false
	if strings.HasPrefix(server, "wss://") || strings.HasPrefix(server, "ws://") {
		web, server = true, "http"+strings.TrimPrefix(server, "ws")
	}
	if server != "" && !strings.Contains(server, "://") {
		scheme := "https://"
		if u, err := url.Parse("//" + server); err == nil && dial.Loopback(u.Hostname()) {
			scheme = "http://"
		}
		server = scheme + server
	}
	base, err := dial.CheckBase(server)
	if err != nil {
		return target{}, err
	}
	base = strings.TrimSuffix(base, wire.PathWebsocket)
	if web && len(in.ServerKey) > 0 {
		return target{Web: base + wire.PathWebsocket, DC: dc, PublicKey: string(in.ServerKey)}, nil
	}
	about, err := n.about(ctx, base)
	if err != nil {
		return target{}, err
	}
	if len(in.ServerKey) > 0 {
		about.PublicKey = string(in.ServerKey)
	}
	if web {
		about.Addresses = nil
	}
	return choose(base, about)
}

// choose takes the first address of a server, or its websocket if it has none.
// A host that stands for all addresses means the host of the document.
func choose(base string, about *wire.About) (target, error) {
	t := target{DC: about.DC, PublicKey: about.PublicKey}
	if len(about.Addresses) == 0 {
		t.Web = base + wire.PathWebsocket
		return t, nil
	}
	host, port, err := net.SplitHostPort(about.Addresses[0])
	if p, perr := strconv.Atoi(port); err != nil || perr != nil || p < 1 || p > 65535 {
		return t, quinta.E(quinta.KindMalformed, loggingIn, "the server names an invalid address")
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		u, err := url.Parse(base)
		if err != nil {
			return t, quinta.E(quinta.KindInvalid, loggingIn, "the address of the server is not a web address")
		}
		host = u.Hostname()
	}
	t.Addr = net.JoinHostPort(host, port)
	return t, nil
}

// maxAbout bounds the document in bytes.
const maxAbout = 16 << 10

// about asks a web address where its server of secret chats is.
func (n Network) about(ctx context.Context, base string) (*wire.About, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+wire.PathAbout, nil)
	if err != nil {
		return nil, quinta.E(quinta.KindInvalid, loggingIn, "the address of the server is not a web address")
	}
	resp, err := dial.NewClient(n.Transport).Do(req)
	if err != nil {
		return nil, quinta.E(quinta.KindUnavailable, loggingIn, "the server cannot be reached")
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAbout))
	var about wire.About
	if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(b, &about) != nil || about.PublicKey == "" {
		return nil, quinta.E(quinta.KindMalformed, loggingIn, "this is not a server of secret chats: it announces no key")
	}
	return &about, nil
}

// signIn logs in with a code, and with the two-step password if the account has
// one, and returns the user's id.
func signIn(ctx context.Context, c *conn, rand io.Reader, phone string, in client.Credentials) (int64, error) {
	o, err := c.call(ctx, &wire.SendCode{PhoneNumber: phone, APIID: 1, APIHash: "quinta", Settings: &wire.CodeSettings{}})
	if err == nil {
		sent, ok := o.(*wire.SentCode)
		if !ok {
			return 0, quinta.E(quinta.KindMalformed, loggingIn, "the server's answer is not what this call returns")
		}
		code, aerr := in.Answer(ctx, client.Question{Kind: client.AskCode, Text: "shown on your other devices, and to the operator by 'quintad user code'"})
		if aerr != nil {
			return 0, aerr
		}
		o, err = c.call(ctx, &wire.SignIn{PhoneNumber: phone, PhoneCodeHash: sent.PhoneCodeHash, PhoneCode: code.Reveal()})
	}
	if e, ok := errors.AsType[callError](err); ok && e.Code == 401 && e.Message == needsPassword {
		o, err = checkPassword(ctx, c, rand, in)
	}
	if e, ok := errors.AsType[callError](err); ok && e.Code == 400 {
		text := "the server refuses the number"
		switch {
		case strings.HasPrefix(e.Message, "PHONE_CODE"):
			text = "the login code is wrong or has expired"
		case e.Message == wrongPassword:
			text = "the second password is wrong"
		case e.Message == expiredQuestion:
			text = "the server is no longer waiting for the second password"
		}
		return 0, &quinta.Error{Kind: quinta.KindUnauthenticated, Op: loggingIn, Err: fmt.Errorf("%s (%s)", text, printable.Line(e.Message))}
	}
	if err != nil {
		return 0, passing(err)
	}
	a, ok := o.(*wire.Authorization)
	if !ok {
		return 0, quinta.E(quinta.KindMalformed, loggingIn, "the server's answer is not what this call returns")
	}
	p, ok := personOf(a.User)
	if !ok || p.ID == 0 {
		return 0, quinta.E(quinta.KindMalformed, loggingIn, "the server's answer names no user")
	}
	return p.ID, nil
}

// Open resumes the session that the store holds.
func (n Network) Open(ctx context.Context, st client.Store, env e2ee.Env) (client.Session, error) {
	var a account
	found := false
	if err := st.View(ctx, func(tx e2ee.Tx) (err error) {
		a, found, err = e2ee.Load[account](tx, keyAccount)
		return err
	}); err != nil {
		return nil, err
	}
	if !found {
		return nil, quinta.E(quinta.KindUnauthenticated, "opening the session", "no account is logged in here")
	}
	return n.newSession(st, env, a)
}
