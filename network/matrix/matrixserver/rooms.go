package matrixserver

// roomCalls registers the calls of rooms, a file each.
func (s *homeserver) roomCalls() {
	for _, register := range []func(){
		s.roomCreateCalls,
		s.roomMemberCalls,
		s.roomMembersCalls,
		s.roomSendCalls,
		s.roomStateCalls,
		s.roomReadCalls,
		s.roomAliasCalls,
		s.roomReceiptCalls,
		s.roomPublicCalls,
		s.roomRelationCalls,
		s.roomUpgradeCalls,
		s.roomHierarchyCalls,
	} {
		register()
	}
}
