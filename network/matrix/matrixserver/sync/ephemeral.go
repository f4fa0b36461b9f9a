package sync

import (
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/network/matrix/wire"
	"github.com/quinta-chat/quinta/server/room"
)

// readEphemeral gives who types and who has read how far, as far as it
// changed.
func (p *roomPart) readEphemeral() error {
	f := &p.q.Filter.Room.Ephemeral
	if !f.In(string(p.id)) {
		return nil
	}
	from := p.q.Since.Pos
	if !p.known {
		from = 0
	}
	if err := p.readTyping(from); err != nil {
		return err
	}
	if err := p.readReceipts(from); err != nil {
		return err
	}
	p.ephemeral = capped(f, p.ephemeral)
	return nil
}

func (p *roomPart) readTyping(from quinta.Pos) error {
	if !p.q.Filter.Room.Ephemeral.Type("m.typing") {
		return nil
	}
	who, changed, err := room.Typing(p.tx, p.id, from)
	if err != nil || !changed || len(who) == 0 && !p.known {
		return err
	}
	if who == nil {
		who = []quinta.UserID{}
	}
	raw, err := wire.Encode(map[string]any{"user_ids": who})
	p.ephemeral = append(p.ephemeral, wire.DataEvent{Type: "m.typing", Content: raw})
	return err
}

// readReceipts gives the receipts that the user may see, and notes whether
// any is the user's own.
func (p *roomPart) readReceipts(from quinta.Pos) error {
	list, err := room.Receipts(p.tx, p.id, room.Range{From: from, To: p.upper})
	if err != nil {
		return err
	}
	p.receipt = p.known && slices.ContainsFunc(list, func(r room.Receipt) bool { return r.Member == p.User })
	content := receiptsFor(list, p.User)
	if content == nil || !p.q.Filter.Room.Ephemeral.Type("m.receipt") {
		return nil
	}
	raw, err := wire.Encode(content)
	p.ephemeral = append(p.ephemeral, wire.DataEvent{Type: "m.receipt", Content: raw})
	return err
}

// receiptsFor returns the content of m.receipt with the receipts given, as
// user gets it: of the private ones only their own. It is nil if none is left.
func receiptsFor(list []room.Receipt, user quinta.UserID) wire.Receipts {
	var out wire.Receipts
	for _, r := range list {
		if r.Kind == wire.ReceiptPrivate && r.Member != user {
			continue
		}
		if out == nil {
			out = wire.Receipts{}
		}
		if out[r.Event] == nil {
			out[r.Event] = map[string]map[quinta.UserID]wire.ReceiptTime{}
		}
		if out[r.Event][r.Kind] == nil {
			out[r.Event][r.Kind] = map[quinta.UserID]wire.ReceiptTime{}
		}
		out[r.Event][r.Kind][r.Member] = wire.ReceiptTime{Time: r.Time, Thread: r.Thread}
	}
	return out
}
