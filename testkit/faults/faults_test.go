//go:build peers

package faults_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A fault is one change of one file, and the test that must fail with it.
type fault struct {
	name     string
	file     string
	old, new string
	test     string
	// pkg is where the test is; the folder of the file if empty.
	pkg string
}

// The folders of the machines.
const (
	machine = "e2ee/matrix/"
	ca      = "e2ee/ca/"
	chats   = "e2ee/secretchat/"
	rc      = "e2ee/rocketchat/"
)

var faults = []fault{
	{name: "Olm: the MAC is not checked", file: "e2ee/olm/message.go", old: "if !k.Verify(m.raw[:signed], m.raw[signed:]) {", new: "if k.Verify(m.raw[:signed], m.raw[signed:]) && false {", test: "."},
	{name: "Olm: a chain index is used again", file: "e2ee/olm/chain.go", old: "c.index++", new: "c.index += 0", test: "TestOutOfOrder"},
	{name: "Megolm: the MAC is not checked", file: "e2ee/megolm/message.go", old: "if !k.Verify(m.raw[:n], m.raw[n:n+aessha2.MACSize]) {", new: "if k.Verify(m.raw[:n], m.raw[n:n+aessha2.MACSize]) && false {", test: "."},
	{name: "Megolm: the signature is not checked", file: "e2ee/megolm/inbound.go", old: "if !st.public.Verify(m.signed()) {", new: "if st.public.Verify(m.signed()) && false {", test: "."},
	{name: "Megolm: a session key need not be signed", file: "e2ee/megolm/inbound.go", old: "if !public.Verify(sessionKey[:ExportSize], sessionKey[ExportSize:]) {", new: "if public.Verify(sessionKey[:ExportSize], sessionKey[ExportSize:]) && false {", test: "."},
	{name: "a MAC of AES and SHA-2 is always right", file: "internal/aessha2/aessha2.go", old: "return subtle.ConstantTimeCompare(want[:], mac) == 1", new: "return subtle.ConstantTimeCompare(want[:], mac) <= 1", test: ".", pkg: "e2ee/megolm"},
	{name: "files: the hash is not checked before opening", file: "e2ee/attachment/open.go", old: "if subtle.ConstantTimeCompare(h.Sum(nil), f.hash[:]) != 1 {", new: "if subtle.ConstantTimeCompare(h.Sum(nil), f.hash[:]) > 1 {", test: "."},
	{name: "key export: the MAC is not checked", file: "e2ee/keyexport/keyexport.go", old: "if !hmac.Equal(mac(macKey, body).Sum(nil), raw[len(body):]) {", new: "if hmac.Equal(mac(macKey, body).Sum(nil), nil) {", test: "."},
	{name: "secret storage: the MAC is not checked", file: "e2ee/secretstorage/secretstorage.go", old: "if !hmac.Equal(mac, want) {", new: "if hmac.Equal(mac, nil) && want == nil {", test: "."},
	{name: "SAS: the commitment is not checked", file: "e2ee/sas/receive.go", old: "subtle.ConstantTimeCompare([]byte(got), []byte(f.promise)) != 1 {", new: "subtle.ConstantTimeCompare([]byte(got), []byte(f.promise)) > 1 {", test: "."},
	{name: "payload: sender is not checked", file: machine + "olm.go", old: "p.Sender != sender || ", new: "", test: "TestAttack11UnknownKeyShare"},
	{name: "payload: recipient is not checked", file: machine + "olm.go", old: "p.Recipient != w.m.user || ", new: "", test: "TestAttack11UnknownKeyShare"},
	{name: "payload: recipient_keys is not checked", file: machine + "olm.go", old: ` || p.RecipientKeys["ed25519"] != w.acc.Signing().String()`, new: "", test: "TestAttack11UnknownKeyShare"},
	{name: "sender_device_keys: the curve key is not checked", file: machine + "olm.go", old: "d.Curve != curve || ", new: "", test: "TestAttack10SenderDeviceKeys"},
	{name: "a session of another user is accepted", file: machine + "claims.go", old: `case c.Owner == sender:`, new: `case c.Owner != "":`, test: "TestAttack09SessionOfAnother"},
	{name: "a message is moved to another room", file: machine + "inbound.go", old: "if p.Room != room {", new: "if false {", test: "TestAttack13RoomMove"},
	{name: "a message is replayed", file: machine + "inbound.go", old: "return usedByAnother, nil", new: "return fresh, nil", test: "TestAttack12Replay"},
	{name: "encryption is weakened by a later event", file: machine + "room.go", old: "r.RotationMS, r.RotationMessages = min(r.RotationMS, c.MS), min(r.RotationMessages, c.Messages)", new: "r.RotationMS, r.RotationMessages, r.Algorithm = c.MS, c.Messages, c.Algorithm", test: "TestAttack25EncryptionWeakened"},
	{name: "the own identity need not be trusted", file: machine + "trust.go", old: "!w.meta.MasterTrusted || ", new: "", test: "TestAttack21OwnIdentityUnverified"},
	{name: "unwedging without an end", file: machine + "claim.go", old: "if d.UnwedgedAt != 0 && w.now", new: "if false && w.now", test: "TestWedgedAtMostOnceAnHour"},
	{name: "an outdated flag is cleared by an older answer", file: machine + "devices.go", old: "if u.Generation == r.Generations[id] {", new: "if true {", test: "TestRaceQueryFails"},
	{name: "a message leaves before its key", file: machine + "outbound.go", old: "return &o, ready && o.Pending == 0, nil", new: "return &o, ready, nil", test: "TestKeyBeforeMessage"},
	{name: "no rotation when it is due", file: machine + "outbound.go", old: "return r.Rotate || ", new: "return ", test: "TestRotation"},
	{name: "no rotation when somebody goes", file: machine + "outbound.go", old: " || s.lost(a.give)", new: "", test: "TestRotation"},
	{name: "a device's keys may change", file: machine + "devices.go", old: "if old.Ed25519 != d.Ed25519 || old.Curve != d.Curve {", new: "if false {", test: "TestDeviceKeysNeverChange"},
	{name: "a clear message is not recalled", file: machine + "room.go", old: "	if err := w.recall(room); err != nil {\n		return err\n	}\n", new: "", test: "TestNeverInClear"},
	{name: "keys for whoever asks", file: machine + "keyrequest.go", old: "case w.trust(w.m.user, u, d) < quinta.TrustVerified:", new: "case false:", test: "TestKeyRequestOfStrangers"},
	{name: "forwarded keys from an unverified device", file: machine + "keyrequest.go", old: " || from.Trust < quinta.TrustVerified", new: "", test: "TestAttack04Forwarded"},
	{name: "room keys outside of Olm", file: machine + "todevice.go", old: " || c.Algorithm != algorithmOlm", new: "", test: "TestAttack05OverOlmOnly"},
	{name: "a secret from an unverified device", file: machine + "secret.go", old: " || from.Trust != quinta.TrustVerified", new: "", test: "TestAttack06FakedSecret"},
	{name: "an unsigned one-time key", file: machine + "claim.go", old: ", d.Ed25519.Verify) != nil {", new: ", d.Ed25519.Verify) != nil && false {", test: "TestUnsignedOneTimeKey"},
	{name: "the old fallback key stays for ever", file: machine + "upload.go", old: "if w.meta.ForgetAt != 0 && now >= w.meta.ForgetAt {", new: "if false {", test: "TestAttack14FallbackKey"},
	{name: "a changed identity is quiet", file: machine + "trust.go", old: "case d.Signed && !u.Changed && w.identityVerified(id, u):", new: "case d.Signed && w.identityVerified(id, u):", test: "TestAttack21IdentityChanged"},
	{name: "a first sync is believed to tell all changes", file: machine + "in.go", old: `if in.Since == "" {`, new: `if in.Since == "" && w.meta.NextBatch != "" {`, test: "TestListBeforeFirstSync"},
	{name: "a lost key is not given again", file: machine + "outbound.go", old: "\t\tset(&s.Again, target{User: from.User, Device: from.Device}, from.Curve)", new: "", test: "TestKeyAgainAfterDummy"},
	{name: "a share that was refused does not count", file: machine + "outbound.go", old: "set(&s.Again, t, t.Curve)", new: "delete(s.Given[t.User], t.Device)", test: "TestRefusedShareCounts"},
	{name: "after a restore the room's session seals on", file: machine + "restored.go", old: `[]string{"out/", "given/"}`, new: `[]string{"given/"}`, test: "TestRestored"},
	{name: "after a restore an Olm session seals on", file: machine + "peers.go", old: "s.Received != retired && (best", new: "(best", test: "TestRestored"},
	{name: "an event that comes twice counts twice", file: machine + "inbound.go", old: "if use == toldBefore && !w.reading {", new: "if false {", test: "TestEventTwice"},
	{name: "cross-signing by anybody", file: machine + "trust.go", old: "&& verifyBy(selfSigning, id, pub)", new: "", test: "TestForgedCrossSigning"},
	{name: "CA: the sender need not be whom the certificate names", file: ca + "seal/message.go", old: "c.From != id.User || ", new: "", test: "Test(Machine)?Attack.*"},
	{name: "CA: a message is moved to another conversation", file: ca + "seal/message.go", old: "case c.Conv != x.Conv:", new: "case false:", test: "Test(Machine)?Attack.*"},
	{name: "CA: numbers may come again", file: ca + "replay.go", old: "if !l.take(c.Seq, late) {", new: "if !l.take(c.Seq, late) && false {", test: "Test(Machine)?Attack.*"},
	{name: "CA: a revocation list may be old", file: ca + "cert/verify.go", old: "if s == nil || now.After(s.next) {", new: "if s == nil {", test: "TestMachineAttack22StaleList", pkg: "e2ee/ca"},
	{name: "CA: another key follows without a proof", file: ca + "directory.go", old: "k.Renewal.Proves(cert.Identity{User: id, Device: k.Device, Use: cert.Use(k.Use)}, keys[i].cert.PublicKey, k.cert.PublicKey) != nil", new: "k.Renewal == nil", test: "TestForgedRenewal"},
	{name: "CA: a changed key of a verified user holds nothing back", file: ca + "outbox.go", old: `blocked != "" && c.Profile == cert.ProfileSecure`, new: `blocked != "" && false`, test: "TestAttack10KeySwapped"},
	{name: "secret chats: msg_key is not checked", file: chats + "packet.go", old: "return data, subtle.ConstantTimeCompare(want[:], msgKey), nil", new: "return data, subtle.ConstantTimeCompare(want[:], msgKey) | 1, nil", test: "TestAttack07Malleability"},
	{name: "secret chats: the side is not in the key", file: chats + "packet.go", old: "func (s Side) x() int { return int(s) * 8 }", new: "func (s Side) x() int { return 0 }", test: "TestVectorsMessages"},
	{name: "secret chats: the length is not checked", file: chats + "packet.go", old: "within(rest, minPadding, maxPadding)", new: "within(rest, 0, maxPadding)", test: "TestAttack08Padding"},
	{name: "secret chats: public values may be anything", file: chats + "prime.go", old: "v.Cmp(g.low) < 0 || v.Cmp(g.high) > 0", new: "v.Sign() == 0", test: "TestAttack02BadPublicValues"},
	{name: "secret chats: a prime need not be safe", file: chats + "prime.go", old: "safe := bytes.Equal(p, knownPrime[:])", new: "safe := bytes.Equal(p, knownPrime[:]) || true", test: "TestVectorsGroups"},
	{name: "secret chats: the generator is not checked", file: chats + "prime.go", old: "if generates(g, p) {", new: "if generates(g, p) || true {", test: "TestVectorsGroups"},
	{name: "secret chats: the server's randomness is used alone", file: chats + "key.go", old: "subtle.XORBytes(e[:], e[:], server)", new: "subtle.XORBytes(e[:], server, make([]byte, Size))", test: "TestAttack04ServerRandomness"},
	{name: "secret chats: a key with another fingerprint is used", file: chats + "agree.go", old: "if key.Fingerprint() != u.Fingerprint {", new: "if false {", test: "TestAttack05Fingerprint"},
	{name: "secret chats: a double is shown", file: chats + "receive.go", old: "\tcase n < c.In:\n\t\treturn nil // a double, not looked into\n\tcase n == c.In:", new: "\tcase n <= c.In:", test: "TestAttack10Replay"},
	{name: "secret chats: a gap is passed over", file: chats + "receive.go", old: "\tcase n == c.In:\n\t\tif err", new: "\tcase n >= c.In:\n\t\tc.In = n\n\t\tif err", test: "TestGap"},
	{name: "secret chats: parity is not checked", file: chats + "receive.go", old: "head.OutSeq != c.outSeq(from, n) || head.InSeq%2 != int(from) || ", new: "from > Other || ", test: "TestAttack09Reflection"},
	{name: "secret chats: in_seq_no may fall", file: chats + "receive.go", old: "have < c.Have || have > c.Out {", new: "have > c.Out {", test: "TestAttack1.*"},
	{name: "secret chats: a message sent again keeps its random_id", file: chats + "action.go", old: "RandomID: id, Data: s.Data", new: "RandomID: id&^id | s.RandomID, Data: s.Data", test: "TestGap"},
	{name: "secret chats: the old key is used on", file: chats + "rekey.go", old: "c.Old, c.Key = c.Key, key.Bytes()", new: "c.Old = key.Bytes()", test: "TestRekey"},
	{name: "secret chats: the old key is never dropped", file: chats + "rekey.go", old: "\told := c.Old\n\tc.Old = nil\n", new: "\told := append([]byte(nil), c.Old...)\n", test: "TestRekey"},
	{name: "secret chats: both sides' exchanges win", file: chats + "rekey.go", old: "case own.ID > a.ExchangeID:", new: "case false:", test: "Test(RekeyBoth|Attack14Rekey|Simulation)"},
	{name: "secret chats: the layer falls", file: chats + "action.go", old: "if a.Layer > c.Remote {", new: "if true {", test: "TestAttack13Downgrade"},
	{name: "secret chats: a message that was deleted is sent again", file: chats + "send.go", old: "if r.Value.RandomID == id {", new: "if r.Value.RandomID == id && false {", test: "TestDeleteUnacknowledged"},
	{name: "secret chats: a timer begins again", file: chats + "timer.go", old: "if t.Due != 0 || !match", new: "if !match", test: "TestTimers"},
	{name: "secret chats: a restored chat seals on", file: chats + "chat.go", old: "if c.State == StateRequested {\n\t\t\t\tcontinue", new: "if true {\n\t\t\t\tcontinue", test: "TestRestored"},
	{name: "secret chats: a dead chat is silent", file: chats + "receive.go", old: "return w.dead(p.Chat)", new: "return nil", test: "TestRestoredFromBefore"},
	{name: "secret chats: a file's fingerprint is not checked", file: chats + "file.go", old: "if fingerprint != k.Fingerprint() {", new: "if false {", test: "TestAttack16WrongFile"},
	{name: "Rocket.Chat: a room key may have any length", file: rc + "roomkey.go", old: "if len(s.key) != size {", new: "if false {", test: "TestAttack06.*"},
	{name: "Rocket.Chat: a key blob of few rounds is opened", file: rc + "keyblob.go", old: "b.iterations < iterationsV2 || ", new: "", test: "TestAttack07.*"},
	{name: "Rocket.Chat: a message leaves before its key", file: rc + "outbox.go", old: "case ReqReset, ReqOwnRoomKey, ReqUsers, ReqProvide:", new: "case ReqReset:", test: "TestKeyBeforeMessage"},
	{name: "Rocket.Chat: the key of another room is accepted", file: rc + "room.go", old: "if other != nil && string(other) != string(r.State.ID) {", new: "if other == nil && false {", test: "TestAttack(08|10).*"},
	{name: "Rocket.Chat: an offered key may have another id", file: rc + "room.go", old: "if err == nil && k.ID() == s.KeyID {", new: "if err == nil {", test: "TestAttack10.*"},
	{name: "Rocket.Chat: an offered key takes the place of one that is here", file: rc + "room.go", old: "good = have.IsZero() || have.Equal(k)", new: "good = have.IsZero() || true", test: "TestAttack10.*"},
	{name: "Rocket.Chat: a ciphertext may come again", file: rc + "inbox.go", old: "} else if have != nil && string(have) != at {", new: "} else if false && string(have) != at {", test: "TestAttack08.*"},
	{name: "Rocket.Chat: the sealed sender is not compared", file: rc + "inbox.go", old: ` || b.Sender != "" && string(b.Sender) != m.User.ID`, new: "", test: "TestAttack08.*"},
	{name: "Rocket.Chat: a changed public key is not seen", file: rc + "pins.go", old: "if have.Equal(shown) {", new: "if have.Equal(shown) || true {", test: "TestAttack09.*"},
	{name: "Rocket.Chat: half an answer is none, and a second pair is made", file: rc + "own.go", old: `case ans.Public == "" && ans.Private == "":`, new: `case ans.Private == "":`, test: "TestAttack13.*"},
	{name: "Rocket.Chat: the server switches encryption off", file: rc + "room.go", old: "if was.Encrypted && !s.Encrypted {", new: "if false {", test: "TestAttack15.*"},
	{name: "Rocket.Chat: a reaction needs no consent", file: rc + "outbox.go", old: "if o.Relation.Kind == quinta.RelationReaction {\n\t\tif !o.Clear {", new: "if o.Relation.Kind == quinta.RelationReaction {\n\t\tif false {", test: "TestEditRedactReact"},
	{name: "Rocket.Chat: no rotation when somebody leaves", file: rc + "inbox.go", old: "\t\t\tw.rotate(r)\n", new: "", test: "TestAttack17.*"},
	{name: "Rocket.Chat: a late reset replaces the key that came first", file: rc + "establish.go", old: "q.Kind == ReqReset && q.Room == r.State.ID && q.KeyID != r.State.KeyID", new: "q.Kind == ReqReset && false", test: "TestLateReset"},
	{name: "Rocket.Chat: the hash of a file is not compared", file: rc + "file.go", old: "if subtle.ConstantTimeCompare(h.Sum(nil), s.sum[:]) != 1 {", new: "if subtle.ConstantTimeCompare(h.Sum(nil), s.sum[:]) > 1 {", test: "TestAttack16.*"},
	{name: "Rocket.Chat: the server takes a copy of a replaced key", file: "network/rocketchat/rocketchatserver/roomkeys.go", old: "if r.KeyID != keyID {", new: "if false {", test: "TestLateKey"},
	{name: "Rocket.Chat: two resets at once", file: "network/rocketchat/rocketchatserver/reset.go", old: "now < r.ResetAt+resetLock.Milliseconds()", new: "now < r.ResetAt", test: "TestAttack11.*|TestRoomKeyIsLinearizable"},
}

// TestFaultsAreCaught plants each fault and runs the test that must see it.
func TestFaultsAreCaught(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	// Two at a time: a machine has two cores at least.
	turn := make(chan struct{}, 2)
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			turn <- struct{}{}
			defer func() { <-turn }()
			overlay := f.plant(t, root)
			out, err := f.run(t, root, overlay)
			switch {
			case err == nil:
				t.Errorf("%s: no test saw it", f.name)
			case strings.Contains(out, "[build failed]"), strings.Contains(out, "no tests to run"), !strings.Contains(out, "--- FAIL"):
				t.Errorf("%s: the tests did not run:\n%.2000s", f.name, out)
			}
		})
	}
}

// plant writes the changed file and the overlay that puts it in place.
func (f *fault) plant(t *testing.T, root string) string {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(f.file))
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(src), f.old); n == 0 {
		t.Fatalf("%s has no %q any more: the fault must be planted elsewhere", f.file, f.old)
	}
	dir := t.TempDir()
	changed, list := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(changed, []byte(strings.ReplaceAll(string(src), f.old, f.new)), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return list
}

func (f *fault) run(t *testing.T, root, overlay string) (string, error) {
	t.Helper()
	pkg := f.pkg
	if pkg == "" {
		pkg = filepath.ToSlash(filepath.Dir(f.file))
	}
	pattern := "^" + f.test + "$"
	if f.test == "." {
		pattern = "."
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-count=1", "-failfast", "-timeout=60s", "-overlay="+overlay, "-run="+pattern, "./"+pkg)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	return string(out), err
}
