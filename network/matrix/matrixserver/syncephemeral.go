package matrixserver

import (
	"slices"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/server/room"
)

// readEphemeral gives who types and who has read how far, as far as it
// changed.
func (p *roomPart) readEphemeral() error {
	f := &p.q.filter.Room.Ephemeral
	if !f.In(string(p.id)) {
		return nil
	}
	from := p.q.since.pos
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
	if !p.q.filter.Room.Ephemeral.Type("m.typing") {
		return nil
	}
	who, changed, err := room.Typing(p.tx, p.id, from)
	if err != nil || !changed || len(who) == 0 && !p.known {
		return err
	}
	if who == nil {
		who = []quinta.UserID{}
	}
	raw, err := encode(map[string]any{"user_ids": who})
	p.ephemeral = append(p.ephemeral, syncEvent{Type: "m.typing", Content: raw})
	return err
}

// readReceipts gives the receipts that the user may see, and notes whether
// any is the user's own.
func (p *roomPart) readReceipts(from quinta.Pos) error {
	list, err := room.Receipts(p.tx, p.id, room.Range{From: from, To: p.upper})
	if err != nil {
		return err
	}
	p.receipt = p.known && slices.ContainsFunc(list, func(r room.Receipt) bool { return r.Member == p.user })
	content := receiptsFor(list, p.user)
	if content == nil || !p.q.filter.Room.Ephemeral.Type("m.receipt") {
		return nil
	}
	raw, err := encode(content)
	p.ephemeral = append(p.ephemeral, syncEvent{Type: "m.receipt", Content: raw})
	return err
}
