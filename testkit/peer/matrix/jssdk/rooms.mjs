// Rooms, messages and files.

import * as sdk from "matrix-js-sdk";
import { open, seal } from "./attachment.mjs";

/** What a test may know of an event. */
function record(event) {
    return {
        id: event.getId(),
        sender: event.getSender(),
        type: event.getType(),
        wire: event.getWireType(),
        body: event.getContent().body ?? "",
        msgtype: event.getContent().msgtype ?? "",
        session: event.getWireContent().session_id ?? "",
        algorithm: event.getWireContent().algorithm ?? "",
        failure: event.isDecryptionFailure() ? (event.decryptionFailureReason ?? "UNKNOWN_ERROR") : "",
        clear: !event.isEncrypted(),
    };
}

/** All events of a room that the client holds, the oldest first, without local echoes. */
function events(device, roomId) {
    const room = device.client.getRoom(roomId);
    if (!room) return [];
    const set = room.getUnfilteredTimelineSet();
    const chain = [];
    for (let line = set.getLiveTimeline(); line && !chain.includes(line); line = line.getNeighbouringTimeline(sdk.Direction.Backward)) {
        chain.unshift(line);
    }
    const apart = set.getTimelines().filter((line) => !chain.includes(line));
    return [...apart, ...chain].flatMap((line) => line.getEvents()).filter((event) => event.status === null);
}

/** The events that the test means by id or body. */
function matching(device, { room, id, body }) {
    return events(device, room).filter((event) =>
        id !== undefined ? event.getId() === id : event.getType() === "m.room.message" && !event.isDecryptionFailure() && event.getContent().body === body,
    );
}

const settled = (event) => !event.isBeingDecrypted() && !event.shouldAttemptDecryption();

/**
 * Fetches older events as a client does whose user scrolls up to the beginning:
 * from each stretch that it holds back to the one before.
 */
async function older(device, roomId) {
    let line = device.client.getRoom(roomId)?.getLiveTimeline();
    for (; line; line = line.getNeighbouringTimeline(sdk.Direction.Backward)) {
        while (line.getPaginationToken(sdk.Direction.Backward) !== null) {
            await device.client.paginateEventTimeline(line, { backwards: true, limit: 50 });
        }
    }
}

/** Resolves when the server answers at all. */
async function answering(device) {
    for (;;) {
        try {
            await fetch(`${device.account.server}/_matrix/client/versions`);
            return;
        } catch {
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
    }
}

/** The event of a transaction that waits to be sent. */
function pending(room, txn) {
    return room.getPendingEvents().find((candidate) => candidate.getTxnId() === txn);
}

/** Sends, and again with the same transaction id for as long as the server does not answer. */
async function send(device, roomId, content, patient) {
    const room = device.client.getRoom(roomId);
    const txn = device.client.makeTxnId();
    try {
        return (await device.client.sendMessage(roomId, content, txn)).event_id;
    } catch (e) {
        if (!patient || (e.httpStatus && e.httpStatus < 500)) {
            // As its user would: what cannot be sent is thrown away, as it
            // would hold up the rest.
            const event = pending(room, txn);
            if (event?.status === sdk.EventStatus.NOT_SENT) device.client.cancelPendingEvent(event);
            throw e;
        }
    }
    const event = pending(room, txn);
    for (;;) {
        await answering(device);
        try {
            return (await device.client.resendEvent(event, room)).event_id;
        } catch (e) {
            if (e.httpStatus && e.httpStatus < 500) throw e;
        }
    }
}

export const calls = {
    /** Makes an encrypted room. */
    async createRoom({ invite = [], rotation, visibility, name, direct = false }) {
        const encryption = { algorithm: "m.megolm.v1.aes-sha2", ...(rotation ? { rotation_period_msgs: rotation } : {}) };
        const state = [{ type: "m.room.encryption", state_key: "", content: encryption }];
        if (visibility) state.push({ type: "m.room.history_visibility", state_key: "", content: { history_visibility: visibility } });
        const { room_id: room } = await this.client.createRoom({
            preset: "private_chat",
            invite,
            is_direct: direct,
            initial_state: state,
            ...(name ? { name } : {}),
        });
        await this.until(() => this.client.getRoom(room)?.hasEncryptionStateEvent());
        return { room };
    },

    /** Invites a user; where the history is shared, the SDK hands over its keys. */
    async invite({ room, user }) {
        await this.client.invite(room, user);
    },

    /** Waits to be invited, joins, and waits to see it. */
    async join({ room }) {
        await this.until(() => ["invite", "join"].includes(this.client.getRoom(room)?.getMyMembership()));
        await this.client.joinRoom(room);
        await this.until(() => {
            const joined = this.client.getRoom(room);
            return joined?.getMyMembership() === "join" && joined.hasEncryptionStateEvent();
        });
    },

    async leave({ room }) {
        await this.client.leave(room);
        await this.until(() => this.client.getRoom(room)?.getMyMembership() === "leave");
    },

    async kick({ room, user }) {
        await this.client.kick(room, user, "");
    },

    /** Waits until the client sees user in the room with this membership. */
    async untilMembership({ room, user, membership }) {
        await this.until(() => this.client.getRoom(room)?.getMember(user)?.membership === membership);
    },

    /** Sends a text; with patient, goes on until a server that is away is back. */
    async sendText({ room, body, patient = false }) {
        return { id: await send(this, room, { msgtype: "m.text", body }, patient) };
    },

    /** Sends texts without waiting for one before the next. */
    async sendBurst({ room, bodies, patient = false }) {
        return { ids: await Promise.all(bodies.map((body) => send(this, room, { msgtype: "m.text", body }, patient))) };
    },

    /** Waits until one event with this id or body can be read. */
    async read({ room, id, body }) {
        const event = await this.until(() => matching(this, { room, id, body }).find((e) => settled(e) && !e.isDecryptionFailure()));
        return record(event);
    },

    /** Waits until every one of the bodies can be read, and looks into the past for those that a sync left out. */
    async readAll({ room, bodies }) {
        const missing = () => {
            const seen = new Set(events(this, room).map((event) => (event.isDecryptionFailure() ? undefined : event.getContent().body)));
            return bodies.filter((body) => !seen.has(body)).length;
        };
        await this.untilAsync(async () => missing() === 0 || (await older(this, room), missing() === 0));
    },

    /** Waits until the event is there and cannot be read, for this reason if one is given. */
    async unreadable({ room, id, reason }) {
        const event = await this.until(() =>
            matching(this, { room, id }).find((e) => settled(e) && e.isDecryptionFailure() && (!reason || e.decryptionFailureReason === reason)),
        );
        return record(event);
    },

    /** What the client holds of a room, and its membership. */
    async timeline({ room }) {
        const membership = this.client.getRoom(room)?.getMyMembership() ?? "";
        return { membership, events: events(this, room).map(record) };
    },

    /** Fetches older events until there are none. */
    async scrollback({ room }) {
        await older(this, room);
        await this.until(() => events(this, room).every(settled));
    },

    /** Makes the next message start a new Megolm session. */
    async discardSession({ room }) {
        await this.client.getCrypto().forceDiscardSession(room);
    },

    /** Seals a file as Element does, uploads it and sends it. */
    async sendFile({ room, name, data }) {
        const sealed = await seal(Buffer.from(data, "base64"));
        const blob = new Blob([sealed.ciphertext], { type: "application/octet-stream" });
        const { content_uri: url } = await this.client.uploadContent(blob, { includeFilename: false, type: "application/octet-stream" });
        const content = { msgtype: "m.file", body: name, file: { ...sealed.file, url }, info: { size: sealed.ciphertext.length } };
        return { id: await send(this, room, content, false), url };
    },

    /** Waits for the file message with this id, downloads it and opens it. */
    async readFile({ room, id }) {
        const event = await this.until(() => matching(this, { room, id }).find((e) => settled(e) && !e.isDecryptionFailure()));
        const { file, body } = event.getContent();
        const url = this.client.mxcUrlToHttp(file.url, undefined, undefined, undefined, false, true, true);
        const response = await fetch(url, { headers: { Authorization: `Bearer ${this.client.getAccessToken()}` } });
        if (!response.ok) throw new Error(`download answers ${response.status}: ${await response.text()}`);
        const data = await open(Buffer.from(await response.arrayBuffer()), file);
        return { name: body, data: Buffer.from(data).toString("base64"), url: file.url };
    },
};
