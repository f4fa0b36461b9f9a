package servers_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/quinta-chat/quinta/quintatest"
	"github.com/quinta-chat/quinta/server/db"
)

// tables names, for each group of tables, what bounds their rows.
var tables = map[string]string{
	"lease store_fact store_position store_set quota_used":                             "the server's own; of quota_used one row for each user and class",
	"account account_number account_profile account_alias account_code account_invite": "new accounts have a rate; 64 KiB of profile, one code for each network, invitations by the operator",
	"account_address": "32 for each account",
	"device device_token directory_device directory_identity": "1,000 devices of a user, each with one token and 64 KiB of keys",
	"directory_signature":                                    "one for each key of another user",
	"directory_change":                                       "1,000 for each user and viewer",
	"prekey_onetime prekey_fallback prekey_cursor":           "`quota-data`; 100,000 unclaimed keys of a device",
	"mailbox_message mailbox_txn mailbox_full":               "`quota-queue`; 10,000 messages of a sender for a device",
	"mailbox_cursor":                                         "one for each device",
	"vault_data":                                             "`quota-data`; 10,000 values and 32 MiB",
	"vault_backup vault_backup_key vault_dehydrated":         "`quota-backup`; 10,000 versions",
	"blob blob_variant blob_loose":                           "`quota-media`; 50 reserved ids",
	"room room_event room_state room_member room_membership": "`quota-messages`: each is an event",
	"room_receipt":                                           "two for each reader and event",
	"room_typing":                                            "one for each member",
	"room_alias":                                             "500 for each user",
	"conversation conversation_member conversation_message conversation_receipt": "`quota-messages`; 5,000 conversations of a user",
	"matrix_uia":                            "a rate; 15 minutes",
	"matrix_filter":                         "1,000 of 64 KiB for each user",
	"matrix_pushrule":                       "256 KiB for each user",
	"matrix_pusher matrix_push":             "50 pushers of a user, 200 notifications for each",
	"matrix_push_event":                     "one for each event until it is looked at",
	"ca_authority ca_crl":                   "one",
	"ca_key ca_audit ca_approval":           "`quota-data`",
	"ca_nonce":                              "10 for each key",
	"ca_delivered":                          "one for each user",
	"rocketchat_user rocketchat_push_token": "one for each user, and for each device",
	"rocketchat_room rocketchat_gone rocketchat_message": "`quota-messages`: each has a message",
	"rocketchat_sub":                                 "2,000 rooms of a user, with 10 old keys each",
	"rocketchat_push":                                "200 for each device",
	"rocketchat_upload":                              "`quota-media`",
	"rocketchat_event":                               "`quota-queue`; 10 minutes",
	"mtproto_secret":                                 "two",
	"mtproto_device mtproto_temp":                    "the rate of key exchanges and a day; 1,000 devices of an account, 16 temporary keys of a device",
	"mtproto_chat":                                   "2,000 of a device; a rate; a week once closed",
	"mtproto_message mtproto_sent":                   "`quota-queue`; a week; 10,000 messages for a device",
	"mtproto_event":                                  "10,000 for each device; a week",
	"mtproto_code mtproto_fixed mtproto_password":    "one for each number or account; codes have a rate",
	"mtproto_part mtproto_file mtproto_piece":        "`quota-media`; a day, two weeks once named",
	"xmpp_room xmpp_member":                          "10,000 members of a room; rooms at the rate of the calls",
	"xmpp_secret":                                    "two",
	"xmpp_device":                                    "200 for each user",
	"xmpp_conversation xmpp_key xmpp_copy xmpp_want": "`quota-data`: each has a key; 7 days of waiting",
	"xmpp_proof xmpp_bearer":                         "the rates of the calls; minutes",
	"xmpp_audit":                                     "10,000 lines of a user, then one every 10 s",
}

const (
	rowsBegin = "<!-- The table of stored rows: go test ./network/all/servers -run TestEveryTableIsBounded -update -->\n"
	rowsEnd   = "<!-- The end of the table of stored rows. -->\n"
)

// TestEveryTableIsBounded: each table of the store is named with what bounds its
// rows, and doc/security.md says so.
func TestEveryTableIsBounded(t *testing.T) {
	t.Parallel()
	named := map[string]bool{}
	var b strings.Builder
	b.WriteString("\n| tables | what bounds their rows |\n|---|---|\n")
	for _, group := range slices.Sorted(maps.Keys(tables)) {
		list := strings.Fields(group)
		for _, one := range list {
			named[one] = true
		}
		b.WriteString("| `" + strings.Join(list, "`, `") + "` | " + tables[group] + " |\n")
	}
	b.WriteString("\n")
	if err := quintatest.Start(t).Core.View(t.Context(), func(tx *db.Tx) error {
		for row, err := range tx.Query(`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`) {
			if err != nil {
				return err
			}
			var name string
			if err := row.Scan(&name); err != nil {
				return err
			}
			if !named[name] {
				t.Errorf("nothing says what bounds the rows of %s", name)
			}
			delete(named, name)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(named) > 0 {
		t.Errorf("there are no tables %v", slices.Sorted(maps.Keys(named)))
	}
	raw, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(raw), rowsBegin)
	_, after, ended := strings.Cut(rest, rowsEnd)
	if !found || !ended {
		t.Fatalf("%s has no table of stored rows", document)
	}
	if got := before + rowsBegin + b.String() + rowsEnd + after; got != string(raw) {
		if !*update {
			t.Fatalf("the table of stored rows of %s differs: run the command above it", document)
		}
		if err := os.WriteFile(document, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
