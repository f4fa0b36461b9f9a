package xmppserver

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/keysrv"
	"github.com/quinta-chat/quinta/internal/exactjson"
	"github.com/quinta-chat/quinta/network/xmpp/wire"
)

// A grant is what a token says. A token is base64url of its JSON, a dot, and
// base64url of HMAC-SHA-256 under a key that only this server has.
type grant struct {
	// Server is the name of the server: a token of another one is none.
	Server string        `json:"aud"`
	User   quinta.UserID `json:"sub"`
	// Thumbprint is that of the key to which the token is bound; empty for one
	// that serves escrow conversations only.
	Thumbprint string `json:"jkt,omitempty"`
	ID         string `json:"jti"`
	Expires    int64  `json:"exp"` // Unix seconds
}

const (
	tokenContext = "quinta-keysrv-token/1"
	maxToken     = 4096
)

// thumbprintForm is that of a thumbprint.
var thumbprintForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

var errToken = wire.NewError(401, wire.CodeUnauthenticated, "the call needs a token of this server, with a proof if the token is bound to a key")

// tokenKeys keeps the key under which tokens are made.
type tokenKeys struct {
	mu  sync.Mutex
	key []byte
}

func (s *xmppServer) tokenMAC(ctx context.Context, payload string) ([]byte, error) {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	if s.tokens.key == nil {
		k, err := s.secret(ctx, secretToken, false)
		if err != nil {
			return nil, err
		}
		s.tokens.key = k
	}
	h := hmac.New(sha256.New, s.tokens.key)
	io.WriteString(h, tokenContext+"\x00"+payload)
	return h.Sum(nil), nil
}

// mint makes a token for a user of the XMPP server.
func (s *xmppServer) mint(ctx context.Context, user quinta.UserID, thumbprint string) (token string, expires time.Time, err error) {
	_, domain, _ := strings.Cut(string(user), "@")
	switch {
	case keysrv.CheckJID(user) != nil || !s.serves(domain):
		return "", expires, quinta.E(quinta.KindForbidden, "token", "users of this domain are not served")
	case thumbprint != "" && !thumbprintForm.MatchString(thumbprint):
		return "", expires, quinta.E(quinta.KindInvalid, "token", "the thumbprint of a key has 43 characters")
	case thumbprint == "" && s.Setting(settingEscrow) == escrowOff:
		return "", expires, quinta.E(quinta.KindForbidden, "token", "a token without a key serves escrow conversations, which this server does not offer")
	}
	var id [16]byte
	if _, err := io.ReadFull(s.Rand, id[:]); err != nil {
		return "", expires, err
	}
	expires = s.Now().Add(s.tokenLife()).Truncate(time.Second)
	raw, err := json.Marshal(grant{Server: s.Name, User: user, Thumbprint: thumbprint, ID: base64.RawURLEncoding.EncodeToString(id[:]), Expires: expires.Unix()})
	if err != nil {
		return "", expires, err
	}
	payload := base64.RawURLEncoding.EncodeToString(raw)
	mac, err := s.tokenMAC(ctx, payload)
	if err != nil {
		return "", expires, err
	}
	return payload + "." + base64.RawURLEncoding.EncodeToString(mac), expires, nil
}

// readToken returns what a token says, or errToken.
func (s *xmppServer) readToken(ctx context.Context, token string) (*grant, error) {
	payload, mac, ok := strings.Cut(token, ".")
	if !ok || len(token) > maxToken {
		return nil, errToken
	}
	have, err := base64.RawURLEncoding.Strict().DecodeString(mac)
	if err != nil {
		return nil, errToken
	}
	want, err := s.tokenMAC(ctx, payload)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(have, want) {
		return nil, errToken
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(payload)
	if err != nil {
		return nil, errToken
	}
	g := &grant{}
	if exactjson.Unmarshal(raw, g) != nil {
		return nil, fmt.Errorf("xmpp: a token of this server cannot be read")
	}
	_, domain, _ := strings.Cut(string(g.User), "@")
	if g.Server != s.Name || s.Now().Unix() >= g.Expires || !s.serves(domain) {
		return nil, errToken
	}
	return g, nil
}
