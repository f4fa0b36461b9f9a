package wire

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"sync"

	"mellium.im/xmlstream"
	"mellium.im/xmpp/stanza"
)

// ErrAnswer: the answer to a request cannot be read.
var ErrAnswer = errors.New("xmpp: the answer to a request cannot be read")

// An Asker matches answers with requests by IQ. The zero value is ready.
type Asker struct {
	mu    sync.Mutex
	asked map[string]chan []xml.Token
}

// Ask sends a request with write and decodes the payload of the answer into v,
// which may be nil. id is not used by another request. A refusal is a
// stanza.Error; the error of a context that ended is its own.
func (a *Asker) Ask(ctx context.Context, iq stanza.IQ, payload xml.TokenReader, v any, write func(xml.TokenReader) error) error {
	got := make(chan []xml.Token, 1)
	a.mu.Lock()
	if a.asked == nil {
		a.asked = map[string]chan []xml.Token{}
	}
	a.asked[iq.ID] = got
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.asked, iq.ID)
		a.mu.Unlock()
	}()
	if err := write(iq.Wrap(payload)); err != nil {
		return err
	}
	select {
	case list := <-got:
		return readAnswer(list, v)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Answer takes an IQ of the type result or error, whose start is given. It
// returns false for any other IQ.
func (a *Asker) Answer(t xml.TokenReader, start *xml.StartElement) (bool, error) {
	if kind := attr(start, "type"); kind != string(stanza.ResultIQ) && kind != string(stanza.ErrorIQ) {
		return false, nil
	}
	id := attr(start, "id")
	a.mu.Lock()
	got := a.asked[id]
	delete(a.asked, id)
	a.mu.Unlock()
	if got == nil {
		return true, nil // it comes late, or no one asked
	}
	list := []xml.Token{start.Copy()}
	for {
		tok, err := t.Token()
		if tok != nil {
			list = append(list, xml.CopyToken(tok))
		}
		switch {
		case errors.Is(err, io.EOF):
			got <- list
			return true, nil
		case err != nil:
			return true, err
		}
	}
}

// attr returns an attribute, or "".
func attr(start *xml.StartElement, name string) string {
	for _, a := range start.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// readAnswer reads an IQ into v.
func readAnswer(list []xml.Token, v any) error {
	start, _ := list[0].(xml.StartElement)
	list = list[1:]
	d := xml.NewTokenDecoder(xmlstream.ReaderFunc(func() (xml.Token, error) {
		if len(list) == 0 {
			return nil, io.EOF
		}
		tok := list[0]
		list = list[1:]
		return tok, nil
	}))
	refused := attr(&start, "type") == string(stanza.ErrorIQ)
	for refused || v != nil {
		tok, err := d.Token()
		if err != nil && refused {
			return stanza.Error{Condition: stanza.UndefinedCondition}
		}
		if err != nil {
			return ErrAnswer
		}
		s, ok := tok.(xml.StartElement)
		switch {
		case !ok:
		case !refused:
			if d.DecodeElement(v, &s) != nil {
				return ErrAnswer
			}
			return nil
		case s.Name.Local == "error":
			var e stanza.Error
			if d.DecodeElement(&e, &s) != nil {
				e = stanza.Error{Condition: stanza.UndefinedCondition}
			}
			return e
		default:
			if d.Skip() != nil {
				return stanza.Error{Condition: stanza.UndefinedCondition}
			}
		}
	}
	return nil
}
