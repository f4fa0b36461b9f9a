package matrixclient

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/quinta-chat/quinta"
	"github.com/quinta-chat/quinta/client"
	"github.com/quinta-chat/quinta/e2ee/sas"
	"github.com/quinta-chat/quinta/network/internal/dial"
	"github.com/quinta-chat/quinta/network/internal/seat"
)

// post sends messages of a verification.
func (s *Session) post(ctx context.Context, f *flow, m *sas.Flow, out []sas.Message) error {
	for _, l := range out {
		if f.room != "" {
			txn, err := seat.NewTxn(s.env.Rand)
			if err != nil {
				return err
			}
			if err := s.put(ctx, quinta.Message{Room: f.room, Txn: txn, Type: l.Type, Body: l.Content}); err != nil {
				return err
			}
			continue
		}
		to := f.asked
		if other, ok := m.Other(); ok {
			to = []quinta.DeviceID{other.Device}
		} else if f.device != "" {
			to = []quinta.DeviceID{f.device}
		}
		if err := s.toDevice(ctx, f.user, to, l); err != nil {
			return err
		}
	}
	if other, ok := m.Other(); ok && len(f.asked) > 1 {
		// One has answered: the others need not ask their user any more.
		var rest []quinta.DeviceID
		for _, d := range f.asked {
			if d != other.Device {
				rest = append(rest, d)
			}
		}
		f.asked = nil
		return s.toDevice(ctx, f.user, rest, sas.Cancellation(f.id, false, sas.CodeAccepted))
	}
	return nil
}

// toDevice sends one message to devices of a user, with the same id until the
// server has it.
func (s *Session) toDevice(ctx context.Context, user quinta.UserID, to []quinta.DeviceID, l sas.Message) error {
	const op = "verifying"
	if len(to) == 0 {
		return nil
	}
	txn, err := seat.NewTxn(s.env.Rand)
	if err != nil {
		return err
	}
	content := map[quinta.DeviceID]json.RawMessage{}
	for _, d := range to {
		content[d] = l.Content
	}
	body := map[string]any{"messages": map[quinta.UserID]any{user: content}}
	return s.retry(ctx, func() error {
		return s.link.ask(ctx, op, http.MethodPut, path("sendToDevice", l.Type, string(txn)), body, nil)
	})
}

// retry tries a few times while the server is not reached.
func (s *Session) retry(ctx context.Context, try func() error) error {
	wait := 250 * time.Millisecond
	for i := 0; ; i++ {
		err := try()
		k := quinta.KindOf(err)
		if err == nil || i == 5 || k != quinta.KindUnavailable && k != quinta.KindLimited {
			return err
		}
		pause := wait << i
		if re, ok := errors.AsType[*client.RetryError](err); ok {
			pause = min(max(pause, re.After), dial.AnswerWithin)
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}
