package matrixserver

import (
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

// receiptInfo is one receipt as clients see it.
type receiptInfo struct {
	Time   int64  `json:"ts"`
	Thread string `json:"thread_id,omitempty"`
}

// readReceipts gives the receipts by event, kind and user. Private ones are
// given to their own user only.
func (p *roomPart) readReceipts(from quinta.Pos) error {
	list, err := room.Receipts(p.tx, p.id, room.Range{From: from, To: p.upper})
	if err != nil {
		return err
	}
	content := map[quinta.MessageID]map[string]map[quinta.UserID]receiptInfo{}
	for _, r := range list {
		if r.Member == p.user {
			p.receipt = p.known
		}
		if r.Kind != receiptRead && (r.Kind != receiptPrivate || r.Member != p.user) {
			continue
		}
		if content[r.Event] == nil {
			content[r.Event] = map[string]map[quinta.UserID]receiptInfo{}
		}
		if content[r.Event][r.Kind] == nil {
			content[r.Event][r.Kind] = map[quinta.UserID]receiptInfo{}
		}
		content[r.Event][r.Kind][r.Member] = receiptInfo{r.Time, r.Thread}
	}
	if len(content) == 0 || !p.q.filter.Room.Ephemeral.Type("m.receipt") {
		return nil
	}
	raw, err := encode(content)
	p.ephemeral = append(p.ephemeral, syncEvent{Type: "m.receipt", Content: raw})
	return err
}
