package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/bench/machine"
	"github.com/quinta-chat/quinta/network/all/servers"
	"github.com/quinta-chat/quinta/server"
	"github.com/quinta-chat/quinta/server/db"
	"github.com/quinta-chat/quinta/server/room"
)

// password of everyone.
const password = "correct horse battery staple"

// A house is a running server with the account of alice, who is in many rooms,
// and the folders in which programs keep what is theirs.
type house struct {
	size
	dir    string
	srv    *machine.Process
	quinta string
}

func newHouse(ctx context.Context, sz size, server, quinta string) (h *house, err error) {
	h = &house{size: sz, quinta: quinta}
	if h.dir, err = os.MkdirTemp("", "quinta-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	logf("%d rooms with %d events", h.rooms, h.events)
	data := filepath.Join(h.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return h, err
	}
	if err := h.seed(ctx, data); err != nil {
		return h, fmt.Errorf("filling the server: %w", err)
	}
	h.srv, err = machine.Start(ctx, server, "--data", data)
	return h, err
}

// close stops the server and removes all that was written.
func (h *house) close() error {
	var err error
	if h.srv != nil {
		err = h.srv.Stop()
	}
	return errors.Join(err, os.RemoveAll(h.dir))
}

// seed writes the accounts and the rooms straight into the store: what is
// measured is the client.
func (h *house) seed(ctx context.Context, data string) (err error) {
	core, err := server.Open(ctx, server.Config{
		Name: machine.ServerName, DB: db.Config{Path: filepath.Join(data, "quinta.db"), Now: time.Now},
		BlobURL: (&url.URL{Scheme: "file", Path: filepath.Join(data, "media")}).String(), Now: time.Now, Rand: rand.Reader,
	}, servers.All())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, core.Close()) }()
	for _, name := range []string{"alice", "bob"} {
		if err := core.AddAccount(ctx, name, password); err != nil {
			return err
		}
	}
	for i := range h.rooms {
		if err := core.Update(ctx, func(tx *db.Tx) error { return h.seedRoom(tx, i) }); err != nil {
			return err
		}
	}
	return nil
}

// seedRoom makes a room with members and events. In every other one the
// messages are encrypted, for devices that were there before.
func (h *house) seedRoom(tx *db.Tx, i int) error {
	const creator = "@alice:" + machine.ServerName
	id := quinta.RoomID(fmt.Sprintf("!room%04d:%s", i, machine.ServerName))
	if err := room.Create(tx, room.Room{ID: id, Version: "10", Creator: creator}); err != nil {
		return err
	}
	depth := int64(0)
	add := func(typ, sender, content string, key *string, m *room.Membership) error {
		depth++
		return room.Append(tx, &room.Event{Room: id, ID: quinta.MessageID(fmt.Sprintf("$%d-%d", i, depth)), Type: typ, StateKey: key,
			Sender: quinta.UserID(sender), Time: tx.Millis(), Depth: depth, Content: []byte(content)}, m)
	}
	none := ""
	state := [][2]string{
		{"m.room.create", `{"room_version":"10","creator":"` + creator + `"}`},
		{"m.room.name", fmt.Sprintf(`{"name":"room %d"}`, i)},
	}
	if i%2 == 0 {
		state = append(state, [2]string{"m.room.encryption", `{"algorithm":"m.megolm.v1.aes-sha2"}`})
	}
	for _, s := range state {
		if err := add(s[0], creator, s[1], &none, nil); err != nil {
			return err
		}
	}
	member := func(j int) string {
		if j == 0 {
			return creator
		}
		return fmt.Sprintf("@member%d:%s", j, machine.ServerName)
	}
	for j := range h.members {
		who := member(j)
		if err := add("m.room.member", who, `{"membership":"join"}`, &who, &room.Membership{Member: quinta.UserID(who), Membership: room.Join}); err != nil {
			return err
		}
	}
	for j := range h.events / h.rooms {
		typ, content := "m.room.message", fmt.Sprintf(`{"msgtype":"m.text","body":"message %d of room %d, of the length that messages have"}`, j, i)
		if i%2 == 0 {
			typ = "m.room.encrypted"
			content = fmt.Sprintf(`{"algorithm":"m.megolm.v1.aes-sha2","ciphertext":"%s","device_id":"OLD","sender_key":"%s","session_id":"%042d%d"}`,
				sealed, strings.Repeat("k", 43), i, j/20%10)
		}
		if err := add(typ, member(j%h.members), content, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// sealed is a message of 256 bytes in the form of Megolm: version 3, an index,
// a ciphertext, MAC and signature, in base64. No key opens it.
var sealed = strings.Repeat("AwgBEoACwYk3", 1)[:8] + strings.Repeat("q7Zt", 118)
