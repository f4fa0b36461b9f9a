package eventauth

// checkPowerLevels has the rules of m.room.power_levels: no one gives or
// takes away a level above their own.
func (j *judge) checkPowerLevels() error {
	const rule = TypePowerLevels
	next, err := parseLevels(j.v, j.e.Content)
	if err != nil {
		return reject(rule, "a level is not an integer, or users contains something that is not a user id")
	}
	if j.v >= sinceCreatorsRule {
		for u := range j.levels.creators {
			if _, ok := next.users[u]; ok {
				return reject(rule, "users contains a creator")
			}
		}
	}
	cur := j.levels
	if !cur.present {
		return nil
	}
	level := cur.User(j.e.Sender)
	changes := []map[string]change{diff(cur.named, next.named), diff(cur.events, next.events)}
	if j.v >= sinceNotificationLevels {
		changes = append(changes, diff(cur.notifications, next.notifications))
	}
	for _, m := range changes {
		for name, c := range m {
			if c.had && c.old > level || c.has && c.new > level {
				return reject(rule, "the sender's power level is too low to change "+name)
			}
		}
	}
	for user, c := range diff(cur.users, next.users) {
		if c.had && user != j.e.Sender && c.old >= level {
			return reject(rule, "the sender's power level is too low to change the level of "+user)
		}
		if c.has && c.new > level {
			return reject(rule, "the sender gives "+user+" more than their own power level")
		}
	}
	return nil
}

// A change is one entry that differs between two maps of levels.
type change struct {
	old, new int64
	had, has bool
}

// diff returns the entries that were added, changed or removed from a to b.
func diff(a, b map[string]int64) map[string]change {
	out := map[string]change{}
	for k, old := range a {
		if n, ok := b[k]; !ok || n != old {
			out[k] = change{old: old, new: n, had: true, has: ok}
		}
	}
	for k, n := range b {
		if _, ok := a[k]; !ok {
			out[k] = change{new: n, has: true}
		}
	}
	return out
}
