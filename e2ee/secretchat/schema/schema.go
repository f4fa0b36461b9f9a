// Package schema has the objects inside the packets of secret chats: those of
// the end-to-end schema of Telegram up to layer 144, all that a peer may write.
// Their names and fields are the schema's.
//
// Each kind of object is an interface. An object of one kind in the place of
// another is malformed.
package schema

import (
	"reflect"
	"strings"

	"github.com/quinta-chat/quinta/internal/tl"
)

// DecryptedMessageLayer is what every message of layer 17 or more comes in.
// Message is the serialized object.
type DecryptedMessageLayer struct {
	_                        struct{} `tl:"1be31789"`
	RandomBytes              []byte
	Layer, InSeqNo, OutSeqNo int
	Message                  tl.Rest
}

// Objects are the constructors of this package.
var Objects = tl.NewSchema(
	DecryptedMessageLayer{},
	DecryptedMessage{}, DecryptedMessage23{}, DecryptedMessage46{}, DecryptedMessage8{}, DecryptedMessageService{}, DecryptedMessageService8{},
	DecryptedMessageMediaAudio{}, DecryptedMessageMediaAudio8{}, DecryptedMessageMediaContact{}, DecryptedMessageMediaDocument{},
	DecryptedMessageMediaDocument46{}, DecryptedMessageMediaDocument8{}, DecryptedMessageMediaEmpty{}, DecryptedMessageMediaExternalDocument{},
	DecryptedMessageMediaGeoPoint{}, DecryptedMessageMediaPhoto{}, DecryptedMessageMediaPhoto8{}, DecryptedMessageMediaVenue{},
	DecryptedMessageMediaVideo{}, DecryptedMessageMediaVideo23{}, DecryptedMessageMediaVideo8{}, DecryptedMessageMediaWebPage{},
	PhotoCachedSize{}, PhotoSize{}, PhotoSizeEmpty{},
	FileLocation{}, FileLocationUnavailable{},
	DecryptedMessageActionAbortKey{}, DecryptedMessageActionAcceptKey{}, DecryptedMessageActionCommitKey{}, DecryptedMessageActionDeleteMessages{},
	DecryptedMessageActionFlushHistory{}, DecryptedMessageActionNoop{}, DecryptedMessageActionNotifyLayer{}, DecryptedMessageActionReadMessages{},
	DecryptedMessageActionRequestKey{}, DecryptedMessageActionResend{}, DecryptedMessageActionScreenshotMessages{}, DecryptedMessageActionSetMessageTTL{},
	DecryptedMessageActionTyping{},
	SendMessageCancelAction{}, SendMessageChooseContactAction{}, SendMessageGeoLocationAction{}, SendMessageRecordAudioAction{},
	SendMessageRecordRoundAction{}, SendMessageRecordVideoAction{}, SendMessageTypingAction{}, SendMessageUploadAudioAction{},
	SendMessageUploadDocumentAction{}, SendMessageUploadPhotoAction{}, SendMessageUploadRoundAction{}, SendMessageUploadVideoAction{},
	DocumentAttributeAnimated{}, DocumentAttributeAudio{}, DocumentAttributeAudio23{}, DocumentAttributeAudio45{}, DocumentAttributeFilename{},
	DocumentAttributeImageSize{}, DocumentAttributeSticker{}, DocumentAttributeSticker23{}, DocumentAttributeVideo{}, DocumentAttributeVideo23{},
	InputStickerSetEmpty{}, InputStickerSetShortName{},
	MessageEntityBankCard{}, MessageEntityBlockquote{}, MessageEntityBold{}, MessageEntityBotCommand{}, MessageEntityCashtag{}, MessageEntityCode{},
	MessageEntityCustomEmoji{}, MessageEntityEmail{}, MessageEntityHashtag{}, MessageEntityItalic{}, MessageEntityMention{}, MessageEntityMentionName{},
	MessageEntityPhone{}, MessageEntityPre{}, MessageEntitySpoiler{}, MessageEntityStrike{}, MessageEntityTextURL{}, MessageEntityURL{},
	MessageEntityUnderline{}, MessageEntityUnknown{},
)

// Name returns the name of media in the schema, such as
// decryptedMessageMediaVenue.
func Name(m Media) string {
	name := reflect.TypeOf(m).Elem().Name()
	return strings.ToLower(name[:1]) + name[1:]
}
