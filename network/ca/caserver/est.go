package caserver

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"mime"
	"net/http"
	"strings"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/network/internal/incoming"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
)

// Enrolment over Secure Transport (RFC 7030) for programs that are no clients
// of this network, such as curl with openssl.
//
// simpleenroll is authenticated by the account's name and password.
// simplereenroll is authenticated by the old certificate in the TLS handshake,
// and by nothing else: the certificates are for signing files and mail, so a
// file that the old key has signed says nothing about a renewal. The new
// request is signed by the new key.

// maxEST bounds a body in bytes.
const maxEST = 64 << 10

func (s *caServer) estCalls() {
	for _, label := range []string{"/", "/{label}/"} {
		s.whole(http.MethodGet, wire.ESTBase+label+wire.ESTCACerts, endpoint{open: true, rate: ratePublic, handle: (*call).estCACerts})
		s.whole(http.MethodPost, wire.ESTBase+label+wire.ESTEnroll, endpoint{open: true, rate: rateKeys, body: maxEST, handle: (*call).estEnroll})
		s.whole(http.MethodPost, wire.ESTBase+label+wire.ESTReenroll, endpoint{open: true, rate: rateKeys, body: maxEST, handle: (*call).estReenroll})
	}
}

// estCACerts answers with the root and the intermediate.
func (c *call) estCACerts() (any, error) {
	k, err := c.authority.public(c.ctx())
	if err != nil {
		return nil, err
	}
	return c.sendCerts(k.root.Raw, k.cert.Raw)
}

// sendCerts answers with certificates in the form of EST: a certs-only
// SignedData in base64.
func (c *call) sendCerts(certs ...[]byte) (any, error) {
	raw, err := certsOnly(certs)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	text := base64.StdEncoding.EncodeToString(raw)
	for len(text) > 64 {
		b.WriteString(text[:64] + "\r\n")
		text = text[64:]
	}
	b.WriteString(text + "\r\n")
	c.w.Header().Set("Content-Transfer-Encoding", "base64")
	return c.send(wire.ESTCertsOnly, b.Bytes())
}

// certsOnly makes a SignedData without content and signers (RFC 5272, section
// 4.1, "simple PKI response").
func certsOnly(certs [][]byte) ([]byte, error) {
	type contentInfo struct {
		Type asn1.ObjectIdentifier
	}
	type signedData struct {
		Version int
		Digests []asn1.ObjectIdentifier `asn1:"set"`
		Content contentInfo
		Certs   asn1.RawValue
		Signers []asn1.ObjectIdentifier `asn1:"set"`
	}
	sd, err := asn1.Marshal(signedData{Version: 1, Content: contentInfo{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}},
		Digests: []asn1.ObjectIdentifier{}, Signers: []asn1.ObjectIdentifier{},
		Certs: asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: bytes.Join(certs, nil)}})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: sd}})
}

// estBody reads a request: base64, as the RFC has it, or plain DER.
func (c *call) estBody() ([]byte, error) {
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	if mediaType, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type")); err != nil || mediaType != wire.ESTRequestType {
		return nil, wire.NewError(http.StatusUnsupportedMediaType, wire.CodeUnsupported, "the body must be application/pkcs10")
	}
	if len(body) > 0 && body[0] == 0x30 { // DER begins so, and base64 does not
		return body, nil
	}
	text := strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == ' ' || r == '\t' {
			return -1
		}
		return r
	}, string(body))
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, wire.NewError(http.StatusBadRequest, wire.CodeMalformed, "the body is neither base64 nor DER")
	}
	return raw, nil
}

// labelled returns for which device and use a request without alternative
// names is, by the label of the path: "sign.DEVICE" or "encrypt.DEVICE".
func (c *call) labelled(user quinta.UserID) (cert.Identity, error) {
	label := c.r.PathValue("label")
	if label == "" {
		return cert.Identity{}, nil
	}
	use, dev, _ := strings.Cut(label, ".")
	id := cert.Identity{User: user, Device: quinta.DeviceID(dev), Use: cert.Use(use)}
	return id, id.Check()
}

// estEnroll: RFC 7030, section 4.2.1.
func (c *call) estEnroll() (any, error) {
	login, password, ok := c.r.BasicAuth()
	if !ok {
		return nil, wire.NewError(http.StatusUnauthorized, wire.CodeUnauthenticated, "enrolment requires the name and the password of the account")
	}
	name := c.loginName(login)
	if err := c.checkPassword(incoming.Stranger(c.addr()), name, password); err != nil {
		return nil, err
	}
	raw, err := c.estBody()
	if err != nil {
		return nil, err
	}
	user := c.userOf(name)
	r, err := c.estRequest(raw, user)
	if err != nil {
		return nil, err
	}
	k, err := c.certify(r, nil)
	if err != nil {
		return nil, err
	}
	if err := c.Update(c.ctx(), func(tx *db.Tx) (err error) {
		if _, err := device.Put(tx, network, user, k.Device, nil); err != nil {
			return err
		}
		k, _, err = c.enrol(tx, k)
		return err
	}); err != nil {
		return nil, err
	}
	return c.sendCerts(k.Cert)
}

// estRequest reads a PKCS #10 request that is to be for a user.
func (c *call) estRequest(raw []byte, user quinta.UserID) (*cert.Request, error) {
	def, err := c.labelled(user)
	if err != nil {
		return nil, err
	}
	r, err := cert.ParseRequest(raw, def)
	if err != nil {
		return nil, err
	}
	if r.Identity.User != user {
		return nil, wire.NewError(http.StatusForbidden, wire.CodeForbidden, "the request names another user")
	}
	return r, nil
}

// estReenroll: RFC 7030, section 4.2.2.
func (c *call) estReenroll() (any, error) {
	old, err := c.clientCertificate()
	if err != nil {
		return nil, err
	}
	raw, err := c.estBody()
	if err != nil {
		return nil, err
	}
	// That the certificate is one of this authority is shown by the store: it
	// holds just these bytes.
	var have *key
	if err := c.View(c.ctx(), func(tx *db.Tx) (err error) {
		have, err = keyByID(tx, cert.KeyID(old))
		return err
	}); err != nil || !bytes.Equal(have.Cert, old.Raw) {
		return nil, wire.NewError(http.StatusForbidden, wire.CodePossession, "the old certificate is not from this authority")
	}
	id := cert.Identity{User: have.User, Device: have.Device, Use: cert.Use(have.Usage)}
	r, err := cert.ParseRequest(raw, id)
	if err != nil {
		return nil, err
	}
	k, err := c.certify(r, nil)
	if err != nil {
		return nil, err
	}
	if err := c.Update(c.ctx(), func(tx *db.Tx) (err error) {
		k, err = c.replace(tx, have.ID, k, func(*db.Tx) error { return nil })
		return err
	}); err != nil {
		return nil, err
	}
	return c.sendCerts(k.Cert)
}

// clientCertificate returns the certificate with which the client opened the
// TLS connection; the handshake has proved that it holds the key.
func (c *call) clientCertificate() (*x509.Certificate, error) {
	if c.r.TLS == nil || len(c.r.TLS.PeerCertificates) == 0 {
		return nil, wire.NewError(http.StatusUnauthorized, wire.CodeUnauthenticated,
			"reenrolment requires the old certificate in the TLS handshake")
	}
	return c.r.TLS.PeerCertificates[0], nil
}
