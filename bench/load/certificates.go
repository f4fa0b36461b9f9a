package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/bench/machine"
	"github.com/quinta-chat/quinta/e2ee/ca/cert"
	"github.com/quinta-chat/quinta/network/ca/wire"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/account"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/device"
)

// An enrolment is one request for a certificate, ready to be sent: a device
// has one to sign and one to encrypt.
type enrolment struct {
	token string
	body  []byte
}

const enrolledDevice = "CERTIFIED"

func enrolled(i int) string { return fmt.Sprintf("enrolled%06d", i) }

// uses are what the certificates of a device are for.
var uses = []cert.Use{cert.UseSign, cert.UseEncrypt}

// enrolments makes accounts with a device each and their requests. The keys
// are made here, as each device makes its own.
func enrolments(ctx context.Context, core *server.Core, devices int) ([]enrolment, error) {
	tokens := make([]string, devices)
	err := core.Update(ctx, func(tx *db.Tx) error {
		for i := range tokens {
			if err := account.Create(tx, account.Name(enrolled(i)), account.PasswordHash{}); err != nil {
				return err
			}
			user := quinta.UserID(enrolled(i) + "@" + machine.ServerName)
			if _, err := device.Put(tx, "ca", user, enrolledDevice, nil); err != nil {
				return err
			}
			var err error
			if tokens[i], err = device.NewToken(tx, rand.Reader, "ca", user, enrolledDevice); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []enrolment
	for i, token := range tokens {
		user := quinta.UserID(enrolled(i) + "@" + machine.ServerName)
		for _, use := range uses {
			k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				return nil, err
			}
			pop, err := cert.NewRequest(rand.Reader, cert.Identity{User: user, Device: enrolledDevice, Use: use}, k)
			if err != nil {
				return nil, err
			}
			body, err := json.Marshal(wire.EnrolRequest{Profile: wire.ProfileSecure, Use: use, Pop: pop})
			if err != nil {
				return nil, err
			}
			out = append(out, enrolment{token, body})
		}
	}
	return out, nil
}

// certificates measures how quickly the authority issues certificates.
func certificates(ctx context.Context, o *options, kind string, r *report) (err error) {
	if !o.wants("certificates") {
		return nil
	}
	devices := max(200, int(o.window/time.Millisecond))
	logf("%s: %d devices that want certificates", kind, devices)
	var list []enrolment
	w, err := newWorldWith(ctx, o, kind, 1, func(core *server.Core) (err error) {
		list, err = enrolments(ctx, core, devices)
		return err
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close(ctx)) }()
	var next counter
	serials := make([]string, len(list))
	issue := func(_ context.Context, _ int, c *client) error {
		i := next.add()
		if i >= len(list) {
			return errDone
		}
		status, answer, err := c.do("POST", wire.Base+wire.PathKeys, list[i].token, list[i].body)
		if err == nil && status != 201 {
			err = fmt.Errorf("enrolling: got %d %.300s", status, answer)
		}
		serials[i] = member(answer, "serial")
		return err
	}
	var t tally
	if err := w.drive(ctx, &t, o.window, issue); err != nil {
		return err
	}
	r.add(t.sample(opIssue, kind, devices))
	n, err := w.certified(list, serials[:len(t.took)])
	r.check(kind, "certificates: every number once, and listed", fmt.Sprintf("%d certificates", n), err)
	return nil
}

// certified checks the serial numbers that were given out, and asks the server
// for some of the certificates.
func (w *world) certified(list []enrolment, serials []string) (int, error) {
	seen := map[string]bool{}
	for i, serial := range serials {
		if serial == "" || seen[serial] {
			return 0, fmt.Errorf("the serial number %q was given out twice", serial)
		}
		seen[serial] = true
		if i%50 > 0 {
			continue
		}
		keys, err := w.keysOf(enrolled(i/len(uses)), list[i].token)
		if err != nil {
			return 0, err
		}
		if !slices.ContainsFunc(keys, func(k wire.KeyInfo) bool { return k.Serial == serial }) {
			return 0, fmt.Errorf("the certificate %s was acknowledged and is not listed", serial)
		}
	}
	return len(seen), nil
}

// keysOf asks the server for the keys of an account.
func (w *world) keysOf(user, token string) (keys []wire.KeyInfo, err error) {
	q, err := http.NewRequest(http.MethodGet, "http://"+w.srv.Addr+wire.Base+"/users/"+user+"/keys", nil)
	if err != nil {
		return nil, err
	}
	q.Header.Set("Authorization", "Bearer "+token)
	resp, err := (&http.Client{Timeout: callTime}).Do(q)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the keys of %s: got %s", user, resp.Status)
	}
	var list wire.KeyList
	err = json.NewDecoder(resp.Body).Decode(&list)
	return list.Keys, err
}
