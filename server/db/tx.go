package db

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"time"
	"unicode/utf8"

	"github.com/quinta-chat/quinta"
)

// A Tx is one transaction. It must not be used after the function that it was
// given to has returned, nor from another goroutine.
//
// SQL is written for both engines: $1, $2, ... are the parameters; see the
// rules in doc/decision. Arguments are strings, byte slices, integers, bools,
// and types defined on them; a nil argument is NULL.
type Tx struct {
	ctx    context.Context
	conn   conn
	now    time.Time
	pos    *quinta.Pos
	write  bool
	done   bool
	busy   bool
	broken error
	// sunk is the first error of a statement that writes: nothing of the
	// request is kept.
	sunk error
	// one says that there may be one statement only, used that it was there.
	one, used bool
	// foresee is set while Prefetch is at work, rehearse says that it rehearses
	// where no one waits, too.
	foresee  *foresight
	rehearse bool
	req      *request
	// counts are the sums of Count.
	counts []Count
}

// A conn is the connection under a transaction.
type conn interface {
	exec(sql string, args []any) (int64, error)
	// later runs a statement now or before the next one of exec and query or
	// the commit; what goes wrong may be reported there. a may be nil.
	later(sql string, args []any, a *Answer) error
	// query calls yield for each row until it returns false.
	query(sql string, args []any, yield func(scanner) bool) error
	// settle waits for the statements of later; yield is nil.
	settle(yield func(scanner) bool) error
	// foresee runs queries of a view together and fills their answers.
	foresee(list []foreseen) error
	// waits reports whether an answer takes a round trip.
	waits() bool
	// fatal reports whether the transaction is lost with this error.
	fatal(err error) bool
}

// A scanner is the current row of a query.
type scanner interface {
	scan(dest []any) error
}

var (
	errDone     = errors.New("db: transaction used after its end")
	errBusy     = errors.New("db: a statement inside the loop of a query; collect the rows first")
	errOneOnly  = errors.New("db: a second statement in Peek")
	errReadOnly = errors.New("db: write in a read-only transaction")
)

// Context returns the context of the transaction.
func (tx *Tx) Context() context.Context { return tx.ctx }

// Now returns the time at which the transaction began.
func (tx *Tx) Now() time.Time { return tx.now }

// Millis returns Now as Unix milliseconds, the form in which times are kept.
func (tx *Tx) Millis() int64 { return tx.now.UnixMilli() }

// Waits reports whether an answer of the store takes a round trip, so that it
// is worth while to ask for several together.
func (tx *Tx) Waits() bool { return tx.conn.waits() }

// NextPos returns the next position in the order of all writes of the store.
// A position is given once; one of a transaction that failed is skipped.
func (tx *Tx) NextPos() quinta.Pos {
	if !tx.write {
		panic("db: internal error: NextPos in a read-only transaction")
	}
	*tx.pos++
	return *tx.pos
}

// SkipPos moves the order of all writes on by n positions that are never
// given out.
func (tx *Tx) SkipPos(n int64) {
	if !tx.write || n < 0 {
		panic("db: internal error: SkipPos in a read-only transaction, or backwards")
	}
	*tx.pos += quinta.Pos(n)
}

// Pos returns the highest position that this transaction can see.
func (tx *Tx) Pos() (quinta.Pos, error) {
	if tx.write {
		return *tx.pos, nil
	}
	var p quinta.Pos
	err := tx.Row(`SELECT pos FROM store_position WHERE one = 1`).Scan(&p)
	return p, err
}

// Wake says that waiters for the keys should look again, once the transaction
// is durable.
func (tx *Tx) Wake(keys ...string) {
	if tx.req != nil {
		tx.req.wake = append(tx.req.wake, keys...)
	}
}

func (tx *Tx) check(write bool, args []any) error {
	switch {
	case tx.done:
		return errDone
	case tx.broken != nil:
		return tx.broken
	case tx.sunk != nil:
		return tx.sunk
	case tx.busy:
		return errBusy
	case write && !tx.write:
		return errReadOnly
	case tx.one && tx.used:
		return errOneOnly
	}
	tx.used = true
	for i, a := range args {
		b, err := bindable(a)
		if err != nil {
			return err
		}
		args[i] = b
	}
	return nil
}

func (tx *Tx) failed(err error) error {
	if err == nil {
		return nil
	}
	if tx.conn.fatal(err) {
		tx.broken = err
	}
	if tx.write {
		tx.sunk = err
	}
	return err
}

// Queue runs a statement when no one needs to know how many rows it changed. It
// costs no wait: a store on another machine gets it together with the next
// statement that has an answer, or with the commit. So an error of it may also
// be that of a later statement or of Update. Whichever it is, nothing of the
// transaction is kept.
func (tx *Tx) Queue(sql string, args ...any) error {
	if err := tx.check(true, args); err != nil {
		return err
	}
	return tx.failed(tx.conn.later(sql, args, nil))
}

// Exec runs a statement and returns how many rows it changed.
func (tx *Tx) Exec(sql string, args ...any) (int64, error) {
	if err := tx.check(true, args); err != nil {
		return 0, err
	}
	n, err := tx.conn.exec(sql, args)
	return n, tx.failed(err)
}

// Query runs a statement and yields its rows. A failure is yielded as the
// last pair. No other statement may run inside the loop.
func (tx *Tx) Query(sql string, args ...any) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		if err := tx.check(false, args); err != nil {
			yield(Row{}, err)
			return
		}
		more := true
		row := func(s scanner) bool {
			more = yield(Row{s: s}, nil)
			return more
		}
		tx.busy = true
		if tx.foresee != nil && tx.foresee.query(sql, args, row) {
			tx.busy = false
			return
		}
		err := tx.conn.query(sql, args, row)
		tx.busy = false
		if err = tx.failed(err); err != nil && more {
			yield(Row{}, err)
		}
	}
}

// Row runs a statement that gives one row at most. Scan reports what went
// wrong, and ErrNoRows if there is no row.
func (tx *Tx) Row(sql string, args ...any) OneRow {
	return OneRow{tx: tx, sql: sql, args: args}
}

// A OneRow is a query for one row that Scan runs.
type OneRow struct {
	tx   *Tx
	sql  string
	args []any
}

// Scan runs the query and copies the columns of the row to dest.
func (r OneRow) Scan(dest ...any) error {
	found := false
	for row, err := range r.tx.Query(r.sql, r.args...) {
		if err != nil {
			return err
		}
		found = true
		if err := row.Scan(dest...); err != nil {
			return err
		}
		break
	}
	if !found {
		return ErrNoRows
	}
	return nil
}

// A Row is one row of a query, valid until the next turn of the loop.
type Row struct{ s scanner }

// Scan copies the columns to dest: pointers to strings, byte slices,
// integers, bools, and types defined on them. A NULL needs a pointer to a
// pointer, or to a byte slice, which becomes nil. The bytes are a copy.
func (r Row) Scan(dest ...any) error { return r.s.scan(dest) }

// bindable turns a into one of string, []byte, int64, bool, nil.
func bindable(a any) (any, error) {
	switch v := a.(type) {
	case nil:
		return nil, nil
	case string:
		return v, checkText(v)
	case []byte:
		return v, nil
	case int64:
		return v, nil
	case int:
		return int64(v), nil
	case bool:
		return v, nil
	case quinta.Pos:
		return int64(v), nil
	case time.Time:
		return nil, errors.New("db: times are kept as Unix milliseconds")
	}
	v := reflect.ValueOf(a)
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil, nil
		}
		return bindable(v.Elem().Interface())
	case reflect.String:
		return v.String(), checkText(v.String())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int(), nil
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return int64(v.Uint()), nil
	case reflect.Bool:
		return v.Bool(), nil
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return v.Bytes(), nil
		}
	}
	return nil, fmt.Errorf("db: cannot bind a %T", a)
}

// A cell is one column of a row as an engine gives it.
type cell interface {
	null() bool
	text() string
	bytes() []byte
	integer() (int64, error)
}

var errNull = errors.New("db: NULL in a column that is scanned into a plain value")

// assign copies a column into the value that dest points to.
func assign(dest any, c cell) error {
	switch d := dest.(type) {
	case *string:
		if c.null() {
			return errNull
		}
		*d = c.text()
		return nil
	case *[]byte:
		if c.null() {
			*d = nil
			return nil
		}
		*d = c.bytes()
		return nil
	case *int64:
		if c.null() {
			return errNull
		}
		n, err := c.integer()
		*d = n
		return err
	case *quinta.UserID:
		return assignText(d, c)
	case *quinta.RoomID:
		return assignText(d, c)
	case *quinta.MessageID:
		return assignText(d, c)
	case *quinta.DeviceID:
		return assignText(d, c)
	case *quinta.TxnID:
		return assignText(d, c)
	case **string:
		if *d = nil; !c.null() {
			s := c.text()
			*d = &s
		}
		return nil
	case *quinta.Pos:
		if c.null() {
			return errNull
		}
		n, err := c.integer()
		*d = quinta.Pos(n)
		return err
	case *bool:
		if c.null() {
			return errNull
		}
		n, err := c.integer()
		*d = n != 0
		return err
	}
	p := reflect.ValueOf(dest)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return fmt.Errorf("db: cannot scan into a %T", dest)
	}
	v := p.Elem()
	if v.Kind() == reflect.Pointer {
		if c.null() {
			v.SetZero()
			return nil
		}
		v.Set(reflect.New(v.Type().Elem()))
		return assign(v.Interface(), c)
	}
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
		if c.null() {
			v.SetZero()
		} else {
			v.SetBytes(c.bytes())
		}
		return nil
	}
	if c.null() {
		return errNull
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(c.text())
		return nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := c.integer()
		if v.OverflowInt(n) {
			return errors.New("db: number too large for its type")
		}
		v.SetInt(n)
		return err
	case reflect.Bool:
		n, err := c.integer()
		v.SetBool(n != 0)
		return err
	}
	return fmt.Errorf("db: cannot scan into a %T", dest)
}

func assignText[T ~string](d *T, c cell) error {
	if c.null() {
		return errNull
	}
	*d = T(c.text())
	return nil
}

func validUTF8(s string) bool { return utf8.ValidString(s) }

// scanCells copies the n columns of a row to dest.
func scanCells(dest []any, n int, at func(i int) cell) error {
	if n != len(dest) {
		return fmt.Errorf("db: %d columns scanned into %d values", n, len(dest))
	}
	for i, d := range dest {
		if err := assign(d, at(i)); err != nil {
			return fmt.Errorf("column %d: %w", i+1, err)
		}
	}
	return nil
}
