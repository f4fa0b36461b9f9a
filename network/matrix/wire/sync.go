package wire

// UnreadCount says how many events are to be noticed.
type UnreadCount struct {
	Highlight int `json:"highlight_count"`
	Notify    int `json:"notification_count"`
}
