// Command gotdpeer is a client of another make, gotd, as a peer of a test: it
// logs in with a code, looks for a user and asks for a secret chat. It reads a
// task in JSON from its standard input and writes what it got, in JSON.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/coder/websocket"
	"github.com/gotd/td/crypto"
	"github.com/gotd/td/telegram"
	"github.com/gotd/td/telegram/dcs"
	"github.com/gotd/td/tg"
	"github.com/gotd/td/transport"
)

// A task is what the peer is to do.
type task struct {
	Addr, Key, Number, Code, Peer, Transport string
	Obfuscated                               bool
	Chat                                     int
	GA                                       []byte
}

// A result is what it got.
type result struct {
	User   int64  `json:"user"`
	DC     int    `json:"dc"`
	Qts    int    `json:"qts"`
	Peer   int64  `json:"peer"`
	Chat   int    `json:"chat"`
	Wrong  string `json:"wrong"` // the answer to a wrong code
	SafeDH bool   `json:"safe_dh"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gotdpeer:", err)
		os.Exit(1)
	}
}

func run() error {
	var t task
	if err := json.NewDecoder(os.Stdin).Decode(&t); err != nil {
		return err
	}
	keys, err := crypto.ParseRSAPublicKeys([]byte(t.Key))
	if err != nil {
		return err
	}
	var public []telegram.PublicKey
	for _, k := range keys {
		public = append(public, telegram.PublicKey{RSA: k})
	}
	host, port, err := net.SplitHostPort(t.Addr)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	client := telegram.NewClient(1, "hash", telegram.Options{
		PublicKeys: public, DC: 2, NoUpdates: true,
		DCList:   dcs.List{Options: []tg.DCOption{{ID: 2, IPAddress: host, Port: n}}},
		Resolver: resolver(t, n),
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var r result
	if err := client.Run(ctx, func(ctx context.Context) error { return talk(ctx, client.API(), t, &r) }); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// resolver is the transport of a task.
func resolver(t task, port int) dcs.Resolver {
	protocols := map[string]transport.Protocol{"abridged": transport.Abridged, "intermediate": transport.Intermediate, "padded": transport.PaddedIntermediate, "full": transport.Full, "websocket": transport.Intermediate}
	o := dcs.PlainOptions{Protocol: protocols[t.Transport], Obfuscated: t.Obfuscated, Rand: rand.Reader}
	switch t.Transport {
	case "http":
		return dcs.HTTP(dcs.HTTPOptions{Port: port})
	case "websocket":
		o.Obfuscated = true
		o.Dial = func(ctx context.Context, _, addr string) (net.Conn, error) {
			ws, _, err := websocket.Dial(ctx, "ws://"+addr+"/apiws", &websocket.DialOptions{Subprotocols: []string{"binary"}})
			if err != nil {
				return nil, err
			}
			return websocket.NetConn(context.Background(), ws, websocket.MessageBinary), nil
		}
	}
	return dcs.Plain(o)
}

// talk does the task.
func talk(ctx context.Context, api *tg.Client, t task, r *result) error {
	config, err := api.HelpGetConfig(ctx)
	if err != nil {
		return err
	}
	r.DC = config.ThisDC
	sent, err := api.AuthSendCode(ctx, &tg.AuthSendCodeRequest{PhoneNumber: t.Number, APIID: 1, APIHash: "hash"})
	if err != nil {
		return err
	}
	code, ok := sent.(*tg.AuthSentCode)
	if !ok {
		return fmt.Errorf("sendCode: got %T", sent)
	}
	sign := &tg.AuthSignInRequest{PhoneNumber: t.Number, PhoneCodeHash: code.PhoneCodeHash}
	sign.SetPhoneCode("wrong")
	if _, err = api.AuthSignIn(ctx, sign); err == nil {
		return errors.New("a wrong code was taken")
	}
	r.Wrong = err.Error()
	sign.SetPhoneCode(t.Code)
	if _, err := api.AuthSignIn(ctx, sign); err != nil {
		return err
	}
	users, err := api.UsersGetUsers(ctx, []tg.InputUserClass{&tg.InputUserSelf{}})
	if err != nil || len(users) != 1 {
		return fmt.Errorf("getUsers: %d, %w", len(users), err)
	}
	r.User = users[0].GetID()
	state, err := api.UpdatesGetState(ctx)
	if err != nil {
		return err
	}
	r.Qts = state.Qts
	return request(ctx, api, t, r)
}

// request checks the parameters and asks for a chat.
func request(ctx context.Context, api *tg.Client, t task, r *result) error {
	dh, err := api.MessagesGetDhConfig(ctx, &tg.MessagesGetDhConfigRequest{RandomLength: 256})
	if err != nil {
		return err
	}
	if c, ok := dh.(*tg.MessagesDhConfig); ok {
		r.SafeDH = crypto.CheckDH(c.G, new(big.Int).SetBytes(c.P)) == nil && len(c.Random) == 256
	}
	found, err := api.ContactsResolveUsername(ctx, &tg.ContactsResolveUsernameRequest{Username: t.Peer})
	if err != nil {
		return err
	}
	peer, ok := found.Users[0].(*tg.User)
	if !ok {
		return fmt.Errorf("resolveUsername: got %T", found.Users[0])
	}
	r.Peer = peer.ID
	chat, err := api.MessagesRequestEncryption(ctx, &tg.MessagesRequestEncryptionRequest{UserID: &tg.InputUser{UserID: peer.ID, AccessHash: peer.AccessHash}, RandomID: t.Chat, GA: t.GA})
	if err != nil {
		return err
	}
	w, ok := chat.(*tg.EncryptedChatWaiting)
	if !ok {
		return fmt.Errorf("requestEncryption: got %T", chat)
	}
	r.Chat = w.ID
	if _, err := api.HelpGetNearestDC(ctx); err == nil || bytes.Contains([]byte(err.Error()), []byte("401")) {
		return fmt.Errorf("a call that is not served: got %v, want a 400", err)
	}
	_, err = api.AuthLogOut(ctx)
	return err
}
