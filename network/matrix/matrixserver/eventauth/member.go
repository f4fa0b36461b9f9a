package eventauth

// checkMember has the rules of m.room.member.
func (j *judge) checkMember() error {
	if j.e.StateKey == nil {
		return reject(TypeMember, "the state key is missing")
	}
	m, ok := j.content.str("membership")
	if !ok {
		return reject(TypeMember, "membership is missing")
	}
	if !validUserID(*j.e.StateKey) {
		return reject(TypeMember, "the state key is not a user id")
	}
	if raw, ok := j.content["join_authorised_via_users_server"]; ok && j.v >= sinceRestricted {
		// The rule asks for the signature of that user's server. Events of
		// one server are signed by it when all users concerned are its own.
		via, _ := j.content.str("join_authorised_via_users_server")
		if !validUserID(via) || Domain(via) != Domain(j.e.Sender) {
			return reject(TypeMember, "join_authorised_via_users_server is not on this server: "+string(raw))
		}
	}
	switch m {
	case "join":
		return j.checkJoin()
	case "invite":
		return j.checkInvite()
	case "leave":
		return j.checkLeave()
	case "ban":
		return j.checkBan()
	case "knock":
		if j.v >= sinceKnock {
			return j.checkKnock()
		}
	}
	return reject(TypeMember, "membership is not known")
}

// membership returns the current membership of user.
func (j *judge) membership(user string) string { return j.state(TypeMember, user).Membership() }

// joinRule returns the join rule of the room, "invite" if it has none.
func (j *judge) joinRule() string {
	e := j.state(TypeJoinRules, "")
	if e == nil {
		return "invite"
	}
	s, _ := object(e.Content).str("join_rule")
	return s
}

func (j *judge) checkJoin() error {
	const rule = "m.room.member join"
	target := *j.e.StateKey
	if len(j.e.PrevEvents) == 1 && j.e.PrevEvents[0] == j.create.ID && j.isCreator(target) && j.e.Sender == target {
		return nil
	}
	if j.e.Sender != target {
		return reject(rule, "a user cannot join for another user")
	}
	cur := j.membership(target)
	if cur == "ban" {
		return reject(rule, "the user is banned")
	}
	in := cur == "join" || cur == "invite"
	switch jr := j.joinRule(); {
	case jr == "public":
		return nil
	case jr == "invite", jr == "knock" && j.v >= sinceKnock:
		if in {
			return nil
		}
		return reject(rule, "the user is not invited")
	case jr == "restricted" && j.v >= sinceRestricted, jr == "knock_restricted" && j.v >= sinceKnockRestricted:
		if in || j.authorised() {
			return nil
		}
		return reject(rule, "no user with the power to invite authorises the join")
	}
	return reject(rule, "the join rule allows no one to join")
}

// isCreator reports whether user sent m.room.create; additional creators join
// like everyone else.
func (j *judge) isCreator(user string) bool {
	return Creators(j.v, j.create)[0] == user
}

// authorised reports whether join_authorised_via_users_server names a member
// who may invite.
func (j *judge) authorised() bool {
	via, ok := j.content.str("join_authorised_via_users_server")
	return ok && j.membership(via) == "join" && j.levels.User(via) >= j.levels.Named("invite")
}

func (j *judge) checkInvite() error {
	const rule = "m.room.member invite"
	if _, ok := j.content["third_party_invite"]; ok {
		return reject(rule, "invitations by third-party identifiers are not accepted")
	}
	if j.membership(j.e.Sender) != "join" {
		return reject(rule, "the sender is not in the room")
	}
	switch j.membership(*j.e.StateKey) {
	case "join":
		return reject(rule, "the user is already in the room")
	case "ban":
		return reject(rule, "the user is banned")
	}
	if j.levels.User(j.e.Sender) < j.levels.Named("invite") {
		return reject(rule, "the sender's power level is too low to invite")
	}
	return nil
}

func (j *judge) checkLeave() error {
	const rule = "m.room.member leave"
	target := *j.e.StateKey
	cur := j.membership(target)
	if j.e.Sender == target {
		if cur == "invite" || cur == "join" || cur == "knock" && j.v >= sinceKnock {
			return nil
		}
		return reject(rule, "the user is not in the room")
	}
	if j.membership(j.e.Sender) != "join" {
		return reject(rule, "the sender is not in the room")
	}
	level := j.levels.User(j.e.Sender)
	if cur == "ban" && level < j.levels.Named("ban") {
		return reject(rule, "the sender's power level is too low to unban")
	}
	if level < j.levels.Named("kick") || j.levels.User(target) >= level {
		return reject(rule, "the sender's power level is too low to kick this user")
	}
	return nil
}

func (j *judge) checkBan() error {
	const rule = "m.room.member ban"
	if j.membership(j.e.Sender) != "join" {
		return reject(rule, "the sender is not in the room")
	}
	level := j.levels.User(j.e.Sender)
	if level < j.levels.Named("ban") || j.levels.User(*j.e.StateKey) >= level {
		return reject(rule, "the sender's power level is too low to ban this user")
	}
	return nil
}

func (j *judge) checkKnock() error {
	const rule = "m.room.member knock"
	jr := j.joinRule()
	if jr != "knock" && (jr != "knock_restricted" || j.v < sinceKnockRestricted) {
		return reject(rule, "the join rule does not allow knocking")
	}
	if j.e.Sender != *j.e.StateKey {
		return reject(rule, "a user cannot knock for another user")
	}
	switch j.membership(j.e.Sender) {
	case "ban":
		return reject(rule, "the user is banned")
	case "invite":
		return reject(rule, "the user is already invited")
	case "join":
		return reject(rule, "the user is already in the room")
	}
	return nil
}
