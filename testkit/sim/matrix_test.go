package sim_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/matrix"
	"github.com/quinta-chat/quinta/e2ee/megolm"
	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/testkit/sim"
)

type (
	matrixWorld   = sim.World[matrix.In, matrix.Req, matrix.Ans]
	matrixMachine = sim.Machine[matrix.In, matrix.Req, matrix.Ans]
)

// A matrixNet is the encrypted rooms of a homeserver.
type matrixNet struct {
	*homeserver
	seen map[string]sim.Sight // by request: they are shown again and again
}

var _ matrixWorld = (*matrixNet)(nil)

func newMatrix(out sim.Outside) matrixWorld {
	return &matrixNet{&homeserver{now: out.Now, users: map[quinta.UserID]*account{}, rooms: map[quinta.RoomID]*room{}, given: map[string]bool{}}, map[string]sim.Sight{}}
}

func (n *matrixNet) User(i int) quinta.UserID { return quinta.UserID(fmt.Sprintf("@u%d:x", i)) }
func (n *matrixNet) Room(i int) quinta.RoomID { return quinta.RoomID(fmt.Sprintf("!r%d:x", i)) }
func (n *matrixNet) Login(s sim.Seat)         { n.login(s) }
func (n *matrixNet) Logout(s sim.Seat)        { n.logout(s) }

func (n *matrixNet) Join(r quinta.RoomID, u quinta.UserID)  { n.member(r, u, "join") }
func (n *matrixNet) Leave(r quinta.RoomID, u quinta.UserID) { n.member(r, u, "leave") }

func (n *matrixNet) Machine(tx e2ee.Tx, env e2ee.Env, s sim.Seat, restored bool) (matrixMachine, error) {
	m := matrix.New(env, s.User, s.Device)
	if restored {
		return m, m.Restored(tx)
	}
	return m, nil
}

// Restorable is a copy that has received: one from before that may lack the
// device's keys.
func (n *matrixNet) Restorable(tx e2ee.Tx, s sim.Seat) (bool, error) {
	at, err := since(tx, s)
	return at != "", err
}

func (n *matrixNet) Handle(s sim.Seat, r matrix.Req) matrix.Ans { return n.handle(s, r) }
func (n *matrixNet) Lost() (matrix.Ans, bool)                   { return matrix.Ans{Failure: matrix.Unreached}, true }

// since reads the position that a store has.
func since(tx e2ee.Tx, s sim.Seat) (string, error) {
	return matrix.Since(tx)
}

func (n *matrixNet) Ask(tx e2ee.Tx, s sim.Seat) (string, error) { return since(tx, s) }

func (n *matrixNet) Fetch(s sim.Seat, from string) matrix.In {
	in, err := matrix.ParseSync(from, n.sync(s, from))
	if err != nil {
		panic(err)
	}
	return in
}

func (n *matrixNet) Everything(sim.Seat) (func(matrixMachine, e2ee.Tx) ([]e2ee.Event, error), bool) {
	return func(m matrixMachine, tx e2ee.Tx) ([]e2ee.Event, error) {
		var out []e2ee.Event
		for _, id := range slices.Sorted(maps.Keys(n.rooms)) {
			var all []json.RawMessage
			for _, e := range n.rooms[id].events {
				all = append(all, e.raw)
			}
			events, err := m.(*matrix.Machine).Read(tx, id, all)
			if err != nil {
				return out, err
			}
			out = append(out, events...)
		}
		return out, nil
	}, true
}

func (n *matrixNet) Message(room quinta.RoomID, txn quinta.TxnID, text string) quinta.Message {
	return quinta.Message{Room: room, Txn: txn, Type: "m.room.message", Body: encode(map[string]string{"msgtype": "m.text", "body": text})}
}

func (n *matrixNet) Text(m quinta.Message) string { return m.Text }

// Renew has the machine take a new key, of a room that it knows by then.
func (n *matrixNet) Renew(m matrixMachine, tx e2ee.Tx, room quinta.RoomID) error {
	return m.(*matrix.Machine).Rotate(tx, room)
}

func (n *matrixNet) Misused() []string        { return n.misused }
func (n *matrixNet) Accepted() []sim.Accepted { return n.accepted }
func (n *matrixNet) Published(u quinta.UserID) []string {
	var out []string
	for id, d := range n.users[u].devices {
		if d.keys != nil {
			out = append(out, string(id))
		}
	}
	slices.Sort(out)
	return out
}

func (n *matrixNet) Listed(m matrixMachine, tx e2ee.Tx, u quinta.UserID) ([]string, error) {
	devices, err := m.(*matrix.Machine).Devices(tx, u)
	var out []string
	for _, d := range devices {
		out = append(out, string(d.ID))
	}
	return out, err
}

func (n *matrixNet) Knows(tx e2ee.Tx, s sim.Seat) (uint64, error) {
	at, err := since(tx, s)
	if err != nil || at == "" {
		return 0, err
	}
	return strconv.ParseUint(at, 10, 64)
}

// Entitled are the devices that the sender knew as those of members, and that
// are still such when the message comes to the server. Those that came or went
// in between may be or not.
func (n *matrixNet) Entitled(s sim.Seat, m sim.Accepted, knows uint64) (must, may bool) {
	for _, p := range n.users[s.User].devices[s.Device].spans[m.Room] {
		must = must || p.from <= knows && (p.open || p.to > m.Pos)
		may = may || p.from <= m.Pos && (p.open || p.to > knows)
	}
	return must, may
}

// Look parses what a request carries: the indices of Megolm and of Olm, and
// the one-time keys of pre-key messages.
func (n *matrixNet) Look(_ e2ee.Tx, s sim.Seat, r matrix.Req) sim.Sight {
	if old, ok := n.seen[r.Path+string(r.Body)]; ok {
		return old
	}
	sight := sim.Sight{Name: string(r.Kind), Wire: append([]byte(r.Path), r.Body...)}
	switch parts := pathOf(r); {
	case r.Kind == matrix.ReqRoomSend:
		sight.Txn = quinta.TxnID(parts[4])
		if parts[3] == "m.room.encrypted" {
			sight.Uses = roomUse(r)
		}
	case r.Kind == matrix.ReqToDevice && parts[1] == "m.room.encrypted":
		sight.Uses = olmUses(r)
	}
	if r.Kind == matrix.ReqToDevice {
		sight.Uses = append(sight.Uses, sim.Use{Key: s.String() + " request " + r.Path, For: string(r.Body)})
	}
	n.seen[r.Path+string(r.Body)] = sight
	return sight
}

func roomUse(r matrix.Req) []sim.Use {
	var c struct {
		Session    string `json:"session_id"`
		Ciphertext string
	}
	decode(r.Body, &c)
	raw, err := base64.RawStdEncoding.DecodeString(c.Ciphertext)
	if err != nil {
		panic(err)
	}
	m, err := megolm.ParseMessage(raw)
	if err != nil {
		panic(err)
	}
	return []sim.Use{{Key: fmt.Sprintf("megolm %s index %d", c.Session, m.Index), For: c.Ciphertext}}
}

func olmUses(r matrix.Req) (uses []sim.Use) {
	var body struct {
		Messages map[string]map[string]struct {
			Ciphertext map[string]struct {
				Type olm.Type
				Body string
			}
		}
	}
	decode(r.Body, &body)
	for _, devices := range body.Messages {
		for _, content := range devices {
			for _, c := range content.Ciphertext {
				raw, err := base64.RawStdEncoding.DecodeString(c.Body)
				if err != nil {
					panic(err)
				}
				var m *olm.Message
				if c.Type == olm.TypePreKey {
					p, err := olm.ParsePreKeyMessage(raw)
					if err != nil {
						panic(err)
					}
					m = &p.Message
				} else if m, err = olm.ParseMessage(raw); err != nil {
					panic(err)
				}
				uses = append(uses, sim.Use{Key: fmt.Sprintf("olm ratchet %v index %d", m.Ratchet, m.Index), For: string(m.Bytes())})
			}
		}
	}
	return uses
}
