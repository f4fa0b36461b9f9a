package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// A client is one connection to the server. It is as lean as it can be, since
// it shares the machine with what it measures: a request is written at once,
// and of an answer only the status and the length are parsed.
type client struct {
	addr string
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	body []byte
}

// callTime bounds one call, and what a long poll waits is added to it.
const callTime = 60 * time.Second

func dial(addr string) *client { return &client{addr: addr} }

// close ends the connection.
func (c *client) close() error {
	if c.conn == nil {
		return nil
	}
	err := c.conn.Close()
	c.conn = nil
	return err
}

// do makes a call and returns the status and the body, which is valid until
// the next call.
func (c *client) do(method, path, token string, body []byte) (int, []byte, error) {
	if err := c.start(method, path, token, body); err != nil {
		return 0, nil, errors.Join(err, c.close())
	}
	status, answer, err := c.finish(callTime)
	if err != nil {
		return 0, nil, errors.Join(err, c.close())
	}
	return status, answer, nil
}

// start sends a request.
func (c *client) start(method, path, token string, body []byte) error {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.addr, callTime)
		if err != nil {
			return err
		}
		c.conn, c.in = conn, bufio.NewReaderSize(conn, 4<<10)
	}
	b := append(c.out[:0], method...)
	b = append(append(append(b, ' '), path...), " HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer "...)
	b = append(append(b, token...), "\r\nContent-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n\r\n"...)
	c.out = append(b, body...)
	_, err := c.conn.Write(c.out)
	return err
}

// finish reads the answer to the request that was sent.
func (c *client) finish(wait time.Duration) (int, []byte, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return 0, nil, err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, nil, fmt.Errorf("the server answered %.40q", line)
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return 0, nil, err
	}
	size := -1
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, nil, err
		}
		if len(line) <= 2 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if size, err = strconv.Atoi(string(bytes.TrimSpace(v))); err != nil {
				return 0, nil, err
			}
		}
	}
	if size < 0 || size > 256<<20 {
		return 0, nil, errors.New("the answer has no length")
	}
	if cap(c.body) < size {
		c.body = make([]byte, size+size/4)
	}
	c.body = c.body[:size]
	_, err = io.ReadFull(c.in, c.body)
	return status, c.body, err
}

// ok makes a call that must be answered with 200.
func (c *client) ok(method, path, token string, body []byte) ([]byte, error) {
	status, answer, err := c.do(method, path, token, body)
	if err == nil && status != 200 {
		err = fmt.Errorf("%s %s: got %d %.300s", method, path, status, answer)
	}
	return answer, err
}

// member returns the text of the first member of this name; it holds no
// escapes. It returns "" if there is none.
func member(answer []byte, name string) string {
	_, rest, ok := bytes.Cut(answer, []byte(`"`+name+`":"`))
	if !ok {
		return ""
	}
	v, _, _ := bytes.Cut(rest, []byte{'"'})
	return string(v)
}

// parallel calls fn for 0 to n-1 from as many sides as there are clients, each
// with its own connection, and returns the first error.
func parallel(ctx context.Context, addr string, n int, fn func(c *client, i int) error) error {
	next := make(chan int)
	errs := make(chan error, clients)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range clients {
		go func() {
			c := dial(addr)
			var err error
			for i := range next {
				if err = fn(c, i); err != nil {
					cancel()
					break
				}
			}
			errs <- errors.Join(err, c.close())
		}()
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	var all []error
	for range clients {
		if err := <-errs; err != nil {
			all = append(all, err)
		}
	}
	if len(all) > 0 {
		return all[0]
	}
	return ctx.Err()
}
