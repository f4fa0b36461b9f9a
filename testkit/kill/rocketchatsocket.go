package kill

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/coder/websocket"

	"github.com/quinta-chat/quinta/e2ee/rocketchat"
	"github.com/quinta-chat/quinta/network/rocketchat/wire"
)

// A rcSocket is a connection of DDP on which one goroutine writes and reads.
type rcSocket struct {
	ws *websocket.Conn
	n  int
}

// rcDial connects and logs in.
func (l *Load) rcDial(ctx context.Context, p *rcPerson) (*rcSocket, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ws, resp, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(p.url, "http")+wire.PathWebsocket, &websocket.DialOptions{HTTPClient: l.http})
	if err != nil {
		return nil, err
	}
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	ws.SetReadLimit(wire.MaxFrame)
	s := &rcSocket{ws: ws}
	if err = s.write(ctx, wire.Frame{Msg: "connect", Version: "1", Support: []string{"1"}}); err == nil {
		err = s.method(ctx, "login", map[string]string{"resume": p.token})
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *rcSocket) close() { _ = s.ws.CloseNow() }

func (s *rcSocket) write(ctx context.Context, f wire.Frame) error {
	raw, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return s.ws.Write(ctx, websocket.MessageText, raw)
}

// A rcRefusal is what a method was answered instead of a result.
type rcRefusal struct{ code, text string }

func (r *rcRefusal) Error() string { return r.code + ": " + r.text }

// method calls a method and waits for its result.
func (s *rcSocket) method(ctx context.Context, name string, params ...any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	raw, err := json.Marshal(params)
	if err != nil {
		return err
	}
	s.n++
	id := strconv.Itoa(s.n)
	if err := s.write(ctx, wire.Frame{Msg: "method", Method: name, ID: id, Params: raw}); err != nil {
		return err
	}
	f, err := s.until(ctx, func(f wire.Frame) bool { return f.Msg == "result" && f.ID == id }, nil)
	if err == nil && f.Error != nil {
		err = &rcRefusal{fmt.Sprint(f.Error.Error), f.Error.Reason}
	}
	return err
}

// until reads until a frame fits, and has a person hear the messages that come.
func (s *rcSocket) until(ctx context.Context, fits func(wire.Frame) bool, p *rcPerson) (wire.Frame, error) {
	for {
		_, raw, err := s.ws.Read(ctx)
		if err != nil {
			return wire.Frame{}, err
		}
		var f wire.Frame
		if err := json.Unmarshal(raw, &f); err != nil {
			return f, fmt.Errorf("%w: a frame that is not JSON", errBroken)
		}
		if fits(f) {
			return f, nil
		}
		if f.Msg == "ping" {
			if err := s.write(ctx, wire.Frame{Msg: "pong", ID: f.ID}); err != nil {
				return f, err
			}
		}
		if f.Msg != "changed" || p == nil {
			continue
		}
		var e wire.Event
		var m rocketchat.Message
		if err := json.Unmarshal(f.Fields, &e); err != nil || len(e.Args) == 0 || json.Unmarshal(e.Args[0], &m) != nil {
			return f, fmt.Errorf("%w: an event without a message: %s", errBroken, raw)
		}
		if err := p.hears(m); err != nil {
			return f, err
		}
	}
}
