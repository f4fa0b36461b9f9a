package db

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"
)

// A pipe sends prepared statements over one connection to PostgreSQL, many at
// a time: what takes a round trip is an answer that someone waits for, not a
// statement (PostgreSQL, "Extended Query", "Pipelining"). It is used by one
// goroutine at a time and keeps no statement unanswered between its calls.
type pipe struct {
	pc    *pgconn.PgConn
	known map[string]*prepared
	// made numbers the prepared statements of the connection.
	made int
	// open says that answers are still to be read: if it is set between two
	// calls, the connection is of no more use.
	open bool

	// These are used again and again.
	bind    pgproto3.Bind
	params  [][]byte
	formats []int16
	small   []byte
	out     []byte
	row     pipeRow
	// tag is what the last command was answered with.
	tag []byte
}

// A prepared is a statement that the database has parsed.
type prepared struct {
	sql, name string
	params    []uint32
	columns   []pgconn.FieldDescription
	results   []int16
	// pinned says that it stays as long as the connection.
	pinned bool
}

// A step is a statement with its arguments, ready to be sent.
type step struct {
	st *prepared
	// msg is the encoded message.
	msg []byte
	// answer, if not nil, gets what the statement gives.
	answer *Answer
	// req is the request that it belongs to; nil is the pipe's user itself.
	req *request
}

const (
	// maxKnown bounds the prepared statements of one connection. The server
	// has fewer texts; a text that varies without end must not fill the
	// database's memory.
	maxKnown = 512
	// oldPlan and noStatement are errors after which a connection is of no
	// more use: what it has prepared no longer fits the tables, or is gone.
	oldPlan, noStatement = "0A000", "26000"
)

func newPipe(pc *pgconn.PgConn) *pipe { return &pipe{pc: pc, known: map[string]*prepared{}} }

// deadline bounds what is sent and received from now on.
func (p *pipe) deadline(t time.Time) error { return p.pc.Conn().SetDeadline(t) }

// interrupt ends a call that waits, and makes the connection useless.
func (p *pipe) interrupt() {
	// An error means that the connection is closed already.
	_ = p.pc.Conn().SetDeadline(time.Unix(1, 0))
}

// abandon closes a connection on which the database may be at work still, and
// tells it to leave that.
func (p *pipe) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if p.open {
		// A failure here is bounded by statement_timeout.
		_ = p.pc.CancelRequest(ctx)
		cancel()
	}
	_ = p.pc.Close(ctx) // it is lost already; nothing hangs on its goodbye
}

// prepare returns the statement of a text; the first time the database parses
// it, which takes a round trip.
func (p *pipe) prepare(sql string) (*prepared, error) {
	if st := p.known[sql]; st != nil {
		return st, nil
	}
	if len(p.known) >= maxKnown {
		if err := p.forget(); err != nil {
			return nil, err
		}
	}
	p.made++
	st := &prepared{sql: sql, name: "q" + strconv.Itoa(p.made)}
	var b []byte
	var err error
	for _, m := range []pgproto3.FrontendMessage{&pgproto3.Parse{Name: st.name, Query: sql}, &pgproto3.Describe{ObjectType: 'S', Name: st.name}, &pgproto3.Sync{}} {
		if b, err = m.Encode(b); err != nil {
			return nil, err
		}
	}
	if err := p.write(b); err != nil {
		return nil, err
	}
	if err := p.receive(func(m pgproto3.BackendMessage) {
		switch m := m.(type) {
		case *pgproto3.ParameterDescription:
			st.params = append(st.params, m.ParameterOIDs...)
		case *pgproto3.RowDescription:
			for _, f := range m.Fields {
				st.add(f.DataTypeOID)
			}
		}
	}); err != nil {
		return nil, sqlError(sql, err)
	}
	p.known[sql] = st
	return st, nil
}

// add notes the type of a column, and in which form it is wanted.
func (st *prepared) add(oid uint32) {
	format := int16(pgtype.TextFormatCode)
	switch oid {
	case pgtype.Int8OID, pgtype.Int4OID, pgtype.Int2OID, pgtype.BoolOID, pgtype.ByteaOID, pgtype.TextOID, pgtype.VarcharOID:
		format = pgtype.BinaryFormatCode
	}
	st.columns = append(st.columns, pgconn.FieldDescription{DataTypeOID: oid, Format: format})
	st.results = append(st.results, format)
}

// forget drops the prepared statements that are not pinned. No encoded message
// may be of one of them.
func (p *pipe) forget() error {
	var text strings.Builder
	for sql, st := range p.known {
		if !st.pinned {
			text.WriteString("DEALLOCATE " + st.name + ";")
			delete(p.known, sql)
		}
	}
	if text.Len() == 0 {
		return nil
	}
	b, err := (&pgproto3.Query{String: text.String()}).Encode(nil)
	if err == nil {
		err = p.write(b)
	}
	if err == nil {
		err = p.receive(func(pgproto3.BackendMessage) {})
	}
	return err
}

// encode appends the messages that run a statement with these arguments, which
// are strings, byte slices, int64, bool or nil.
func (p *pipe) encode(dst []byte, st *prepared, args []any) ([]byte, error) {
	if len(args) != len(st.params) {
		return dst, fmt.Errorf("db: %d arguments for %d parameters (in %.60q)", len(args), len(st.params), st.sql)
	}
	p.params, p.formats = p.params[:0], p.formats[:0]
	// Grown at once, since parts of it are referred to.
	size := 0
	for _, a := range args {
		size += 20 // the longest number
		if s, ok := a.(string); ok {
			size += len(s)
		}
	}
	p.small = slices.Grow(p.small[:0], size)
	for i, a := range args {
		v, format, err := p.param(st.params[i], a)
		if err != nil {
			return dst, sqlError(st.sql, err)
		}
		p.params, p.formats = append(p.params, v), append(p.formats, format)
	}
	p.bind = pgproto3.Bind{PreparedStatement: st.name, ParameterFormatCodes: p.formats, Parameters: p.params, ResultFormatCodes: st.results}
	dst, err := p.bind.Encode(dst)
	if err != nil {
		return dst, sqlError(st.sql, err)
	}
	return (&pgproto3.Execute{}).Encode(dst)
}

// param encodes one argument.
func (p *pipe) param(oid uint32, a any) ([]byte, int16, error) {
	switch v := a.(type) {
	case nil:
		return nil, pgtype.TextFormatCode, nil
	case string:
		at := len(p.small)
		p.small = append(p.small, v...)
		return p.small[at:], pgtype.TextFormatCode, nil
	case []byte:
		if v == nil {
			return nil, pgtype.TextFormatCode, nil
		}
		return v, pgtype.BinaryFormatCode, nil
	case bool:
		if v {
			return []byte("t"), pgtype.TextFormatCode, nil
		}
		return []byte("f"), pgtype.TextFormatCode, nil
	case int64:
		at := len(p.small)
		if oid != pgtype.Int8OID {
			p.small = strconv.AppendInt(p.small, v, 10)
			return p.small[at:], pgtype.TextFormatCode, nil
		}
		p.small = binary.BigEndian.AppendUint64(p.small, uint64(v))
		return p.small[at:], pgtype.BinaryFormatCode, nil
	}
	return nil, 0, fmt.Errorf("db: cannot bind a %T", a)
}

// run sends the steps together and reads their answers. The rows of the last
// step go to yield, until it returns false. If the database refuses a step,
// run returns its number and a *pgconn.PgError; what comes after it was not
// done. With any other error the number is -1 and the connection is lost.
func (p *pipe) run(steps []step, yield func(scanner) bool) (failed int, err error) {
	p.out = p.out[:0]
	for i := range steps {
		p.out = append(p.out, steps[i].msg...)
	}
	if p.out, err = (&pgproto3.Sync{}).Encode(p.out); err != nil {
		return -1, err
	}
	if err := p.write(p.out); err != nil {
		return -1, err
	}
	if cap(p.out) > 4*maxQueue {
		p.out = nil // a large message has passed through
	}
	at := 0
	err = p.receive(func(m pgproto3.BackendMessage) {
		if at >= len(steps) {
			return
		}
		a := steps[at].answer
		switch m := m.(type) {
		case *pgproto3.BindComplete:
			if a != nil {
				a.again()
			}
		case *pgproto3.DataRow:
			p.row = pipeRow{values: m.Values, columns: steps[at].st.columns}
			switch {
			case a != nil:
				a.add(&p.row)
			case yield != nil && at == len(steps)-1 && !yield(&p.row):
				yield = nil
			}
		case *pgproto3.CommandComplete:
			if a != nil {
				a.done(changed(m.CommandTag))
			}
			p.tag = append(p.tag[:0], m.CommandTag...)
			at++
		case *pgproto3.EmptyQueryResponse:
			at++
		}
	})
	var pe *pgconn.PgError
	switch {
	case err == nil && at == len(steps):
		return 0, nil
	case err == nil:
		p.open = true // whatever it said, it was not an answer
		return -1, fmt.Errorf("db: %d answers to %d statements", at, len(steps))
	case errors.As(err, &pe) && at < len(steps):
		if pe.Code == oldPlan || pe.Code == noStatement {
			p.open = true
		}
		return at, sqlError(steps[at].st.sql, err)
	}
	return -1, err
}

// write sends b. From here on the connection is open until receive has read
// all that comes back.
func (p *pipe) write(b []byte) error {
	p.open = true
	_, err := p.pc.Conn().Write(b)
	return err
}

// receive hands on messages until the database is ready again, and returns the
// error that it reported, if any, as a *pgconn.PgError.
func (p *pipe) receive(each func(pgproto3.BackendMessage)) (err error) {
	broken := false
	defer func() {
		if p.open && !broken { // each has panicked: leave nothing unread
			if derr := p.drain(); err == nil {
				err = derr
			}
		}
	}()
	for {
		m, rerr := p.pc.Frontend().Receive()
		if rerr != nil {
			broken = true
			return rerr
		}
		switch m := m.(type) {
		case *pgproto3.ErrorResponse:
			err = pgconn.ErrorResponseToPgError(m)
			if m.SeverityUnlocalized == "FATAL" || m.SeverityUnlocalized == "PANIC" {
				broken = true
				return err
			}
		case *pgproto3.ReadyForQuery:
			p.open = false
			return err
		default:
			each(m)
		}
	}
}

// drain reads what is left of the answers.
func (p *pipe) drain() error {
	for {
		m, err := p.pc.Frontend().Receive()
		if err != nil {
			return err
		}
		if _, ok := m.(*pgproto3.ReadyForQuery); ok {
			p.open = false
			return nil
		}
	}
}

// changed returns the number at the end of the tag of a command, as in
// "INSERT 0 5", and 0 if there is none.
func changed(tag []byte) int64 {
	var n int64
	at := len(tag)
	for at > 0 && tag[at-1] >= '0' && tag[at-1] <= '9' {
		at--
	}
	for _, c := range tag[at:] {
		n = 10*n + int64(c-'0')
	}
	return n
}

// A pipeRow is the current row of a query.
type pipeRow struct {
	values  [][]byte
	columns []pgconn.FieldDescription
}

func (r *pipeRow) scan(dest []any) error {
	if len(r.values) != len(r.columns) {
		return errors.New("db: a row of another form than its query")
	}
	return scanCells(dest, len(r.values), func(i int) cell {
		return postgresCell{raw: r.values[i], oid: r.columns[i].DataTypeOID, binary: r.columns[i].Format == pgtype.BinaryFormatCode}
	})
}
