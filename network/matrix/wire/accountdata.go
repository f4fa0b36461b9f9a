package wire

// The account data that has calls of its own (client-server API).
const (
	DataPushRules = "m.push_rules"
	DataFullyRead = "m.fully_read"
	DataTags      = "m.tag"
)
