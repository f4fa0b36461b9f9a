package matrix

import (
	"encoding/json"
	"time"

	"github.com/quinta-chat/quinta/e2ee"
	"github.com/quinta-chat/quinta/e2ee/olm"
	"github.com/quinta-chat/quinta/internal/base64text"
	"github.com/quinta-chat/quinta/internal/exactjson"
)

const (
	// wantOneTimeKeys is how many one-time keys the server should hold, and
	// fewOneTimeKeys when it gets more.
	wantOneTimeKeys = 50
	fewOneTimeKeys  = 25
	// forgetFallback is how long messages to a used fallback key may still
	// come.
	forgetFallback = time.Hour
	// settle is how long a sync may lag behind an upload.
	settle = 2 * time.Minute
	// refusedWait is how long to wait after a request was refused.
	refusedWait = time.Minute
)

// planUpload makes an upload of keys. The private halves are stored with the
// request, before it leaves; it is repeated unchanged until it is answered.
func (w *work) planUpload() error {
	now := w.now.UnixMilli()
	if w.meta.ForgetAt != 0 && now >= w.meta.ForgetAt {
		w.meta.ForgetAt = 0
		if w.acc.ForgetFallbackKey() {
			w.accChanged = true
		}
	}
	if w.meta.Uploading || now < w.meta.UploadAfter {
		return nil
	}
	count := 0
	if !w.meta.Published {
		count = wantOneTimeKeys - len(w.oneTimeKeys())
	} else if w.meta.Counted && w.meta.OneTimeKeys < fewOneTimeKeys {
		count = wantOneTimeKeys - w.meta.OneTimeKeys - len(w.oneTimeKeys())
	}
	if count > 0 {
		if err := w.acc.GenerateOneTimeKeys(w.m.env.Rand, count); err != nil {
			return err
		}
		w.accChanged = true
	}
	_, have := w.acc.FallbackKey()
	if !have || w.meta.NewFallback || w.acc.FallbackWorn() {
		if err := w.acc.GenerateFallbackKey(w.m.env.Rand); err != nil {
			return err
		}
		w.accChanged, w.meta.NewFallback, w.meta.FallbackAt = true, false, now
		if have {
			w.meta.ForgetAt = w.now.Add(forgetFallback).UnixMilli()
		}
	}
	keys := w.acc.Unpublished()
	if len(keys) == 0 && w.meta.Published {
		return nil
	}
	return w.upload(keys)
}

// oneTimeKeys returns the one-time keys that were never uploaded.
func (w *work) oneTimeKeys() []olm.PublicKey {
	var out []olm.PublicKey
	for _, k := range w.acc.Unpublished() {
		if !k.Fallback {
			out = append(out, k)
		}
	}
	return out
}

func (w *work) upload(keys []olm.PublicKey) error {
	r := &record{Kind: ReqKeysUpload, Method: "POST", Path: path("keys", "upload")}
	body := map[string]any{}
	oneTime, fallback := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	for _, k := range keys {
		name := otkAlgorithm + ":" + k.ID.String()
		r.OneTimeKeys = append(r.OneTimeKeys, uint64(k.ID))
		if k.Fallback {
			fallback[name] = w.keyObject(k.Key.String(), true)
		} else {
			oneTime[name] = w.keyObject(k.Key.String(), false)
		}
	}
	if len(oneTime) > 0 {
		body["one_time_keys"] = oneTime
	}
	if len(fallback) > 0 {
		body["fallback_keys"] = fallback
	}
	if !w.meta.Published {
		body["device_keys"] = w.meta.Keys
		r.DeviceKeys = true
	}
	r.Body = e2ee.JSON(body)
	w.meta.Uploading = true
	return w.reqs.add(r)
}

// keyObject returns a signed one-time or fallback key.
func (w *work) keyObject(public string, fallback bool) json.RawMessage {
	text := `{"key":"` + public + `"}`
	if fallback {
		text = `{"fallback":true,"key":"` + public + `"}`
	}
	sig := map[string]map[string]string{string(w.m.user): {edPrefix + string(w.m.device): base64text.Encode(w.acc.Sign([]byte(text)))}}
	return json.RawMessage(text[:len(text)-1] + `,"signatures":` + string(e2ee.JSON(sig)) + `}`)
}

// doneUpload marks the keys as published. If the server refuses one-time keys
// it has others under their ids: they are dropped and new ones made, under
// ids that were never used.
func (w *work) doneUpload(r *record, ans Ans) error {
	w.meta.Uploading = false
	ids := make([]olm.KeyID, len(r.OneTimeKeys))
	for i, id := range r.OneTimeKeys {
		ids[i] = olm.KeyID(id)
	}
	w.accChanged = true
	var body struct {
		Counts map[string]int `json:"one_time_key_counts"`
	}
	if ans.Failure == Refused || exactjson.Unmarshal(ans.Body, &body) != nil {
		w.acc.Drop(ids...)
		w.meta.NewFallback = true
		if w.meta.Refusals++; w.meta.Refusals > 1 {
			w.meta.UploadAfter = w.now.Add(refusedWait).UnixMilli()
		}
		return nil
	}
	w.acc.MarkPublished(ids...)
	w.meta.Published = w.meta.Published || r.DeviceKeys
	w.meta.Counted, w.meta.OneTimeKeys, w.meta.Refusals = true, max(0, body.Counts[otkAlgorithm]), 0
	return nil
}

// counts takes what a sync says of the keys that the server holds.
func (w *work) counts(in In) {
	if in.OneTimeKeys != nil && !w.meta.Uploading {
		w.meta.Counted, w.meta.OneTimeKeys = true, max(0, in.OneTimeKeys[otkAlgorithm])
	}
	if in.UnusedFallback == nil || !w.meta.Published || w.meta.Uploading {
		return
	}
	for _, a := range in.UnusedFallback {
		if a == otkAlgorithm {
			return
		}
	}
	if w.now.UnixMilli()-w.meta.FallbackAt >= settle.Milliseconds() {
		w.meta.NewFallback = true
	}
}
