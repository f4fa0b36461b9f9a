// Command mautrixpeer drives clients of mautrix-go with its pure-Go crypto
// over standard input and output: each line in is one call {id, device, call,
// args, timeout}, each line out its answer {id, ok, result} or {id, ok:
// false, error, errcode, status}, in any order. The process ends when its
// input does. It is a module of its own: the project does not depend on it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"sync"
	"time"

	"maunium.net/go/mautrix"
)

// longestLine bounds one call; the longest carries a file in base64.
const longestLine = 256 << 20

// A request is one line in.
type request struct {
	ID      int64           `json:"id"`
	Device  string          `json:"device"`
	Call    string          `json:"call"`
	Args    json.RawMessage `json:"args"`
	Timeout int64           `json:"timeout"`
}

// An answer is one line out.
type answer struct {
	ID      int64  `json:"id"`
	OK      bool   `json:"ok"`
	Result  any    `json:"result,omitempty"`
	Error   string `json:"error,omitempty"`
	Errcode string `json:"errcode,omitempty"`
	Status  int    `json:"status,omitempty"`
}

// A call is one method of a device; it returns its result.
type call func(ctx context.Context, d *device, args json.RawMessage) (any, error)

// calls are the methods by name.
var calls = merge(sessionCalls, roomCalls, trustCalls, verifyCalls)

func merge(tables ...map[string]call) map[string]call {
	all := map[string]call{}
	for _, t := range tables {
		for name, c := range t {
			all[name] = c
		}
	}
	return all
}

// method makes a call of a function with typed arguments.
func method[A, R any](f func(context.Context, *device, A) (R, error)) call {
	return func(ctx context.Context, d *device, raw json.RawMessage) (any, error) {
		var a A
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &a); err != nil {
				return nil, err
			}
		}
		return f(ctx, d, a)
	}
}

// none is the argument or result of a call without one.
type none struct{}

func main() {
	var mu sync.Mutex // guards devices and the output
	devices := map[string]*device{}
	out := json.NewEncoder(os.Stdout)
	say := func(a answer) {
		mu.Lock()
		defer mu.Unlock()
		if err := out.Encode(a); err != nil {
			log.Fatal(err)
		}
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 64<<10), longestLine)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			say(answer{Error: "not a call: " + err.Error()})
			continue
		}
		mu.Lock()
		d := devices[r.Device]
		if d == nil {
			d = newDevice()
			devices[r.Device] = d
		}
		mu.Unlock()
		go func() { say(serve(d, r)) }()
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}

// serve runs one call to its end or its limit.
func serve(d *device, r request) answer {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.Timeout)*time.Millisecond)
	defer cancel()
	c, ok := calls[r.Call]
	if !ok {
		return answer{ID: r.ID, Error: "no call " + r.Call}
	}
	result, err := c(ctx, d, r.Args)
	if err == nil {
		return answer{ID: r.ID, OK: true, Result: result}
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%s took longer than %d ms: %w", r.Call, r.Timeout, err)
	}
	a := answer{ID: r.ID, Error: err.Error()}
	var he mautrix.HTTPError
	if errors.As(err, &he) && he.RespError != nil {
		a.Errcode, a.Status = he.RespError.ErrCode, he.RespError.StatusCode
	}
	return a
}
