package db

import (
	"bytes"
	"errors"
	"iter"

	"github.com/ncruces/go-sqlite3"
)

// An Answer is what a statement of Tx.Ask gave. It can be read in the
// transaction, which waits for it if need be, and after the transaction was
// committed, when it is there in any case.
type Answer struct {
	tx      *Tx
	known   bool
	rows    []scanner
	changed int64
	// most, if not zero, bounds the bytes of the rows; of an answer with more,
	// over is set and there are none.
	most, size int
	over       bool
}

// Ask runs a statement whose answer is wanted later: what is asked of the
// store meanwhile, also by other requests of the same commit, shares the wait.
// It is for few rows, since they are kept in memory. Of errors it holds what
// is said at Queue.
func (tx *Tx) Ask(sql string, args ...any) (*Answer, error) {
	if err := tx.check(true, args); err != nil {
		return nil, err
	}
	a := &Answer{tx: tx}
	return a, tx.failed(tx.conn.later(sql, args, a))
}

var errNoAnswer = errors.New("db: the answer of a transaction that was rolled back")

func (a *Answer) wait() error {
	if a.known {
		return nil
	}
	if a.tx.done {
		return errNoAnswer
	}
	if err := a.tx.check(true, nil); err != nil {
		return err
	}
	return a.tx.failed(a.tx.conn.settle(nil))
}

// Changed returns how many rows the statement changed.
func (a *Answer) Changed() (int64, error) {
	err := a.wait()
	return a.changed, err
}

// Rows yields the rows. A failure is yielded as the last pair.
func (a *Answer) Rows() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		if err := a.wait(); err != nil {
			yield(Row{}, err)
			return
		}
		for _, s := range a.rows {
			if !yield(Row{s}, nil) {
				return
			}
		}
	}
}

// again empties the answer: the statement runs, perhaps for a second time.
func (a *Answer) again() { a.rows, a.changed, a.known, a.size, a.over = nil, 0, false, 0, false }

// add keeps a row.
func (a *Answer) add(r *pipeRow) {
	if a.most > 0 {
		for _, v := range r.values {
			a.size += 24 + len(v)
		}
		if a.over = a.size > a.most; a.over {
			a.rows = nil
			return
		}
	}
	a.rows = append(a.rows, r.kept())
}

// done notes the end of the answer.
func (a *Answer) done(changed int64) { a.changed, a.known = changed, true }

// kept returns a copy of the row that outlives the query.
func (r *pipeRow) kept() scanner {
	k := &pipeRow{values: make([][]byte, len(r.values)), columns: r.columns}
	for i, v := range r.values {
		k.values[i] = bytes.Clone(v)
	}
	return k
}

// kept returns a copy of the row that outlives the query.
func (r *sqliteRow) kept() scanner {
	k := make(keptRow, r.st.ColumnCount())
	for i := range k {
		switch r.st.ColumnType(i) {
		case sqlite3.NULL:
		case sqlite3.INTEGER:
			k[i].number, k[i].kind = r.st.ColumnInt64(i), sqlite3.INTEGER
		default:
			k[i].raw, k[i].kind = append([]byte{}, r.st.ColumnRawBlob(i)...), sqlite3.BLOB
		}
	}
	return k
}

// A keptRow is a copy of a row of SQLite.
type keptRow []keptCell

func (r keptRow) scan(dest []any) error {
	return scanCells(dest, len(r), func(i int) cell { return r[i] })
}

type keptCell struct {
	kind   sqlite3.Datatype // zero is NULL
	number int64
	raw    []byte
}

func (c keptCell) null() bool    { return c.kind == 0 }
func (c keptCell) text() string  { return string(c.raw) }
func (c keptCell) bytes() []byte { return append([]byte{}, c.raw...) }
func (c keptCell) integer() (int64, error) {
	if c.kind != sqlite3.INTEGER {
		return 0, errors.New("db: not a whole number")
	}
	return c.number, nil
}
