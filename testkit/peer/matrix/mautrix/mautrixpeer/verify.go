package main

import (
	"context"
	"fmt"

	"maunium.net/go/mautrix/crypto/verificationhelper"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// A flow is one verification as the SDK tells of it.
type flow struct {
	txn       id.VerificationTransactionID
	from      id.UserID
	asked     bool
	ready     bool
	done      bool
	emoji     []string
	decimal   []int
	cancelled event.VerificationCancelCode
}

// flows receives the SDK's callbacks.
type flows struct{ d *device }

// at changes the flow of a transaction, which is new if it is not known.
func (f flows) at(txn id.VerificationTransactionID, change func(*flow)) {
	f.d.change(func() {
		for _, fl := range f.d.flows {
			if fl.txn == txn {
				change(fl)
				return
			}
		}
		fl := &flow{txn: txn}
		f.d.flows = append(f.d.flows, fl)
		change(fl)
	})
}

func (f flows) VerificationRequested(_ context.Context, txn id.VerificationTransactionID, from id.UserID, _ id.DeviceID) {
	f.at(txn, func(fl *flow) { fl.from, fl.asked = from, true })
}

func (f flows) VerificationReady(_ context.Context, txn id.VerificationTransactionID, _ id.DeviceID, _, _ bool, _ *verificationhelper.QRCode) {
	f.at(txn, func(fl *flow) { fl.ready = true })
}

func (f flows) VerificationCancelled(_ context.Context, txn id.VerificationTransactionID, code event.VerificationCancelCode, _ string) {
	f.at(txn, func(fl *flow) { fl.cancelled = code })
}

func (f flows) VerificationDone(_ context.Context, txn id.VerificationTransactionID, _ event.VerificationMethod) {
	f.at(txn, func(fl *flow) { fl.done = true })
}

func (f flows) ShowSAS(_ context.Context, txn id.VerificationTransactionID, _ []rune, names []string, decimals []int) {
	f.at(txn, func(fl *flow) { fl.emoji, fl.decimal = names, decimals })
}

var verifyCalls = map[string]call{
	"askVerification":    method(askVerification),
	"acceptVerification": method(acceptVerification),
	"startVerification":  method(startVerification),
	"emoji":              method(emoji),
	"confirm":            method(confirm),
	"untilCancelled":     method(untilCancelled),
}

type flowArgs struct {
	Flow int  `json:"flow"`
	Same bool `json:"same"`
}

// askVerification asks all devices of a user.
func askVerification(ctx context.Context, d *device, a userArgs) (flowArgs, error) {
	user := a.User
	if user == "" {
		user = d.account.User
	}
	txn, err := d.verify.StartVerification(ctx, user)
	if err != nil {
		return flowArgs{}, err
	}
	flows{d}.at(txn, func(*flow) {})
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, fl := range d.flows {
		if fl.txn == txn {
			return flowArgs{Flow: i}, nil
		}
	}
	return flowArgs{}, fmt.Errorf("the flow %s is lost", txn)
}

func acceptVerification(ctx context.Context, d *device, a userArgs) (flowArgs, error) {
	var res flowArgs
	var txn id.VerificationTransactionID
	err := d.until(ctx, func() (bool, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		for i, fl := range d.flows {
			if fl.asked && !fl.ready && fl.cancelled == "" && fl.from == a.User {
				res.Flow, txn = i, fl.txn
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return res, err
	}
	return res, d.verify.AcceptVerification(ctx, txn)
}

// wait waits for a state of a flow, and fails if the flow is cancelled.
func (d *device) wait(ctx context.Context, n int, check func(*flow) bool) (flow, error) {
	var now flow
	err := d.until(ctx, func() (bool, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if n < 0 || n >= len(d.flows) {
			return false, fmt.Errorf("no flow %d", n)
		}
		now = *d.flows[n]
		if check(d.flows[n]) {
			return true, nil
		}
		if now.cancelled != "" {
			return false, fmt.Errorf("verification cancelled: %s", now.cancelled)
		}
		return false, nil
	})
	return now, err
}

func startVerification(ctx context.Context, d *device, a flowArgs) (none, error) {
	fl, err := d.wait(ctx, a.Flow, func(fl *flow) bool { return fl.ready })
	if err != nil {
		return none{}, err
	}
	return none{}, d.verify.StartSAS(ctx, fl.txn)
}

type emojiResult struct {
	Emoji   []string `json:"emoji"`
	Decimal []int    `json:"decimal"`
}

func emoji(ctx context.Context, d *device, a flowArgs) (emojiResult, error) {
	fl, err := d.wait(ctx, a.Flow, func(fl *flow) bool { return len(fl.emoji) > 0 })
	return emojiResult{fl.emoji, fl.decimal}, err
}

type ended struct {
	Cancelled event.VerificationCancelCode `json:"cancelled"`
}

func confirm(ctx context.Context, d *device, a flowArgs) (ended, error) {
	fl, err := d.wait(ctx, a.Flow, func(fl *flow) bool { return len(fl.emoji) > 0 })
	if err != nil {
		return ended{}, err
	}
	if !a.Same {
		code := event.VerificationCancelCodeSASMismatch
		return ended{code}, d.verify.CancelVerification(ctx, fl.txn, code, "the emoji differ")
	}
	if err := d.verify.ConfirmSAS(ctx, fl.txn); err != nil {
		return ended{}, err
	}
	_, err = d.wait(ctx, a.Flow, func(fl *flow) bool { return fl.done })
	return ended{}, err
}

func untilCancelled(ctx context.Context, d *device, a flowArgs) (ended, error) {
	fl, err := d.wait(ctx, a.Flow, func(fl *flow) bool { return fl.cancelled != "" })
	return ended{fl.cancelled}, err
}
