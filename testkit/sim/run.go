package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/e2ee"
)

// A run is one script that is being carried out.
type run[In, Req, Ans any] struct {
	script  Script
	world   World[In, Req, Ans]
	clock   time.Time
	sources uint64 // of randomness, one for each life of a program
	devices []*device[In, Req, Ans]
	members map[quinta.RoomID]map[quinta.UserID]bool
	names   int
	sent    []*sent
	byTxn   map[quinta.TxnID]*sent
	byText  map[string]*sent
	uses    map[string]string
	old     []copied[Req]
	trace   bool
	// pairs: the world is a Pairing.
	pairs  bool
	result *Result
}

// A device is one program with its store.
type device[In, Req, Ans any] struct {
	seat  Seat
	store *store
	m     Machine[In, Req, Ans]
	// gone: it was removed at the server. restored: its store was put back once.
	// told: its program knows that.
	gone, restored, told bool
	backup               *store
	// What is on its way to it.
	answer   *answered[Req, Ans]
	incoming *In
}

type answered[Req, Ans any] struct {
	req Req
	ans Ans
}

// A copied request may arrive at the server once more.
type copied[Req any] struct {
	seat Seat
	req  Req
}

// A sent message is one that a machine took.
type sent struct {
	n     int
	from  Seat
	room  quinta.RoomID
	txn   quinta.TxnID
	text  string
	last  bool // said when all was calm again
	known bool // it was sealed
	knows uint64
}

// startsAt is the time at which every run begins.
var startsAt = time.UnixMilli(1_700_000_000_000)

// maxOld is how many copies of requests are kept.
const maxOld = 50

func newRun[In, Req, Ans any](s Script, trace bool, world func(Outside) World[In, Req, Ans]) *run[In, Req, Ans] {
	r := &run[In, Req, Ans]{
		script: s, clock: startsAt, members: map[quinta.RoomID]map[quinta.UserID]bool{}, trace: trace, result: new(Result),
		byTxn: map[quinta.TxnID]*sent{}, byText: map[string]*sent{}, uses: map[string]string{},
	}
	r.world = world(Outside{r.now, r.random()})
	if _, r.pairs = r.world.(Pairing); r.pairs {
		r.script.Joined = 2
	}
	return r
}

func (r *run[In, Req, Ans]) now() time.Time { return r.clock }

// random returns a source that no one else has.
func (r *run[In, Req, Ans]) random() *rand.ChaCha8 {
	r.sources++
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], r.script.Seed)
	binary.LittleEndian.PutUint64(seed[8:], r.sources)
	return rand.NewChaCha8(seed)
}

func (r *run[In, Req, Ans]) tell(format string, args ...any) {
	if r.trace {
		r.result.Trace = append(r.result.Trace, fmt.Sprintf(format, args...))
	}
}

func (r *run[In, Req, Ans]) violate(rule, format string, args ...any) {
	how := fmt.Sprintf(format, args...)
	r.tell("BROKEN: %s: %s", rule, how)
	r.result.Violations = append(r.result.Violations, Violation{rule, how})
}

// play carries out the script, lets all become calm, and checks the rules.
func (r *run[In, Req, Ans]) play() {
	for i, n := range r.script.Devices {
		for range n {
			r.login(r.world.User(i))
		}
	}
	for c := range r.script.Rooms {
		for i := range r.script.Joined {
			r.join(r.world.Room(c), r.world.User((c+i)%len(r.script.Devices)))
		}
	}
	r.settle()
	for i, s := range r.script.Steps {
		r.tell("%d %s", i, s)
		r.step(s)
	}
	r.calm()
	r.check()
}

// active returns the devices that are in use.
func (r *run[In, Req, Ans]) active() []*device[In, Req, Ans] {
	var out []*device[In, Req, Ans]
	for _, d := range r.devices {
		if !d.gone {
			out = append(out, d)
		}
	}
	return out
}

func (r *run[In, Req, Ans]) step(s Step) {
	all := r.active()
	d := all[s.Who%len(all)]
	luck := rand.New(rand.NewPCG(s.Luck, 0))
	room := r.world.Room(int(s.Luck % uint64(r.script.Rooms)))
	switch s.Op {
	case OpSay:
		r.say(d, room, false)
	case OpSend:
		r.send(d, luck)
	case OpReceive:
		r.receive(d, luck)
	case OpLate:
		r.late(luck)
	case OpCrash:
		d.store.fuse = 1 + luck.IntN(40)
		r.tell("  %s dies in %d writes", d.seat, d.store.fuse)
	case OpRestart:
		r.start(d)
	case OpWait:
		r.wait(luck)
	case OpLogin:
		if len(all) < MaxDevices {
			r.login(d.seat.User)
		}
	case OpLogout:
		if len(all) > 2 && !(r.pairs && r.only(d)) {
			r.logout(d)
		}
	case OpJoin:
		if !r.pairs {
			r.join(room, d.seat.User)
		}
	case OpLeave:
		r.leave(room, d.seat.User)
	case OpRenew:
		r.update(d, "renew", func(tx e2ee.Tx) ([]e2ee.Event, error) { return nil, r.world.Renew(d.m, tx, room) })
	case OpBackup:
		d.backup = d.store.clone()
	case OpRestore:
		r.restore(d)
	case OpDeed:
		if w, ok := r.world.(Doer[In, Req, Ans]); ok {
			r.update(d, "deed", func(tx e2ee.Tx) ([]e2ee.Event, error) { return w.Deed(d.m, tx, d.seat, room, luck) })
		}
	}
}

// only reports whether a device is the only one of its user.
func (r *run[In, Req, Ans]) only(d *device[In, Req, Ans]) bool {
	for _, o := range r.active() {
		if o != d && o.seat.User == d.seat.User {
			return false
		}
	}
	return true
}

// wait lets time pass: mostly hours, sometimes days, and sometimes the clock
// is set back a little.
func (r *run[In, Req, Ans]) wait(luck *rand.Rand) {
	by := time.Duration(luck.IntN(3*3600)) * time.Second
	switch luck.IntN(10) {
	case 0:
		by *= 60
	case 1:
		by = -time.Duration(luck.IntN(60)) * time.Second
	}
	r.clock = r.clock.Add(by)
	r.tell("  %v passes", by)
}

func (r *run[In, Req, Ans]) login(u quinta.UserID) {
	r.names++
	s := Seat{u, quinta.DeviceID(fmt.Sprintf("D%d", r.names))}
	d := &device[In, Req, Ans]{seat: s, store: newStore()}
	r.devices = append(r.devices, d)
	r.result.Count.Devices++
	r.world.Login(s)
	r.tell("  %s logs in", s)
	r.start(d)
}

func (r *run[In, Req, Ans]) logout(d *device[In, Req, Ans]) {
	d.gone = true
	r.world.Logout(d.seat)
	r.tell("  %s is removed", d.seat)
}

func (r *run[In, Req, Ans]) join(room quinta.RoomID, u quinta.UserID) {
	if r.members[room] == nil {
		r.members[room] = map[quinta.UserID]bool{}
	}
	if !r.members[room][u] {
		r.members[room][u] = true
		r.world.Join(room, u)
		r.tell("  %s joins %s", u, room)
	}
}

func (r *run[In, Req, Ans]) leave(room quinta.RoomID, u quinta.UserID) {
	if r.members[room][u] && len(r.members[room]) > 1 {
		if !r.pairs {
			delete(r.members[room], u)
		}
		r.world.Leave(room, u)
		r.tell("  %s leaves %s", u, room)
	}
}

// rooms returns the conversations in their order.
func (r *run[In, Req, Ans]) rooms() []quinta.RoomID {
	var out []quinta.RoomID
	for c := range r.script.Rooms {
		out = append(out, r.world.Room(c))
	}
	return out
}

// start begins a new life of a device: what was on its way to the old one is
// lost.
func (r *run[In, Req, Ans]) start(d *device[In, Req, Ans]) {
	d.store.fuse, d.answer, d.incoming = 0, nil, nil
	env := e2ee.Env{Now: r.now, Rand: r.random()}
	r.update(d, "start", func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		d.m, err = r.world.Machine(tx, env, d.seat, d.restored && !d.told)
		return nil, err
	})
	d.told = d.restored
}

func (r *run[In, Req, Ans]) restore(d *device[In, Req, Ans]) {
	if d.backup == nil {
		return
	}
	good := false
	err := d.backup.view(func(tx e2ee.Tx) (err error) { good, err = r.world.Restorable(tx, d.seat); return err })
	if err != nil {
		r.violate(RuleMachine, "%s: an old copy: %v", d.seat, err)
	}
	if !good {
		return
	}
	d.store, d.restored, d.told = d.backup.clone(), true, false
	r.result.Count.Restores++
	r.tell("  %s is put back to an old copy", d.seat)
	r.start(d)
}

// update runs one call of a machine. It reports whether the program still
// lives and the call had no error.
func (r *run[In, Req, Ans]) update(d *device[In, Req, Ans], what string, f func(tx e2ee.Tx) ([]e2ee.Event, error)) bool {
	_, err := d.store.update(f)
	return r.lives(d, what, err)
}

// lives has a program that died begin again, and reports whether it lives and
// had no error.
func (r *run[In, Req, Ans]) lives(d *device[In, Req, Ans], what string, err error) bool {
	switch {
	case errors.Is(err, errCrash):
		r.result.Count.Crashes++
		r.tell("  %s dies in %s", d.seat, what)
		r.start(d)
		return false
	case err != nil:
		r.violate(RuleMachine, "%s: %s: %v", d.seat, what, err)
		return false
	}
	return true
}

// say hands a message to a machine.
func (r *run[In, Req, Ans]) say(d *device[In, Req, Ans], room quinta.RoomID, last bool) {
	n := len(r.sent) + 1
	m := &sent{n: n, from: d.seat, room: room, txn: quinta.TxnID(fmt.Sprintf("txn%d", n)), text: fmt.Sprintf("words-%d", n), last: last}
	_, err := d.store.update(func(tx e2ee.Tx) ([]e2ee.Event, error) {
		return nil, d.m.Send(tx, r.world.Message(room, m.txn, m.text))
	})
	switch {
	case errors.Is(err, errCrash):
		// Whether it was taken is not known to who said it.
		r.result.Count.Crashes++
		r.tell("  %s dies saying %s", d.seat, m.text)
		m.last = false
		r.start(d)
	case err != nil:
		r.tell("  %s cannot say anything: %v", d.seat, err)
		if last && r.members[room][d.seat.User] {
			r.violate(RuleReads, "%s cannot send when all is calm: %v", d.seat, err)
		}
		return
	default:
		r.tell("  %s says %s in %s", d.seat, m.text, room)
		r.result.Count.Sent++
	}
	r.sent = append(r.sent, m)
	r.byTxn[m.txn], r.byText[m.text] = m, m
}

// outgoing returns what is due, and notes what everyone can see of it. What
// was committed counts, also if the program dies then.
func (r *run[In, Req, Ans]) outgoing(d *device[In, Req, Ans]) []Req {
	var reqs []Req
	committed, err := d.store.update(func(tx e2ee.Tx) (_ []e2ee.Event, err error) {
		reqs, err = d.m.Outgoing(tx)
		return nil, err
	})
	if committed {
		for _, q := range reqs {
			r.look(d, q)
		}
	}
	if !r.lives(d, "outgoing", err) {
		return nil
	}
	return reqs
}

// done gives a machine an answer.
func (r *run[In, Req, Ans]) done(d *device[In, Req, Ans], q Req, a Ans) bool {
	return r.update(d, "done", func(tx e2ee.Tx) ([]e2ee.Event, error) { return d.m.Done(tx, q, a) })
}
