// Conversations off the record as web clients before 8.0 hold them, on WebCrypto.

import { randomUUID } from "node:crypto";
import { SpecClient } from "./spec.mjs";

const { subtle } = globalThis.crypto;
const utf8 = new TextEncoder();
const p256 = { name: "ECDH", namedCurve: "P-256" };

export class OTRClient extends SpecClient {
    signals = [];

    take(f) {
        if (f.msg === "changed" && f.collection === "stream-notify-user" && f.fields.eventName === `${this.id}/otr`) {
            this.signals.push(f.fields.args);
            for (const go of this.listeners.splice(0)) go();
        }
        super.take(f);
    }

    /** Waits until look gives something, which is asked again with each event. */
    async until(look) {
        for (;;) {
            const found = await look();
            if (found !== undefined) return found;
            await new Promise((go) => this.listeners.push(go));
        }
    }

    signal(kind, more) {
        return this.method("stream-notify-user", `${this.peer}/otr`, kind, { roomId: this.room, userId: this.id, ...more });
    }

    /** Waits for a signal of a kind, which must name the other user and the room. */
    async heard(kind) {
        const [, data] = await this.until(() => {
            const i = this.signals.findIndex(([k]) => k === kind);
            return i < 0 ? undefined : this.signals.splice(i, 1)[0];
        });
        if (this.room && (data.roomId !== this.room || data.userId !== this.peer)) throw new Error("a signal of " + JSON.stringify(data));
        return data;
    }

    async pair() {
        await this.method("deleteOldOTRMessages", this.room);
        this.own = await subtle.generateKey(p256, true, ["deriveBits"]);
        return JSON.stringify(await subtle.exportKey("jwk", this.own.publicKey));
    }

    async derive(publicKey) {
        const theirs = await subtle.importKey("jwk", JSON.parse(publicKey), p256, false, []);
        const shared = await subtle.deriveBits({ name: "ECDH", public: theirs }, this.own.privateKey, 256);
        const hash = await subtle.digest("SHA-256", shared);
        this.key = await subtle.importKey("raw", hash.slice(0, 16), { name: "AES-GCM" }, false, ["encrypt", "decrypt"]);
    }

    async seal(value) {
        const iv = globalThis.crypto.getRandomValues(new Uint8Array(12));
        const sealed = await subtle.encrypt({ name: "AES-GCM", iv }, this.key, utf8.encode(JSON.stringify(value)));
        return JSON.stringify({ $binary: Buffer.concat([iv, Buffer.from(sealed)]).toString("base64") });
    }

    async open(msg) {
        const raw = new Uint8Array(Buffer.from(JSON.parse(msg).$binary, "base64"));
        return JSON.parse(new TextDecoder().decode(await subtle.decrypt({ name: "AES-GCM", iv: raw.slice(0, 12) }, this.key, raw.slice(12))));
    }

    async otrListen() {
        const ready = new Promise((ok) => (this.ready = ok));
        this.write({ msg: "sub", id: "otr", name: "stream-notify-user", params: [`${this.id}/otr`, false] });
        await ready;
        return {};
    }

    /**
     * Invites the user of a name until they accept: they may not listen yet. Web
     * clients end an invitation that nobody answers.
     */
    async otrInvite({ room, username }) {
        const r = await fetch(`${this.server}/api/v1/users.info?username=${username}`, { headers: { "X-User-Id": this.id, "X-Auth-Token": this.token } });
        if (!r.ok) throw new Error(await r.text());
        [this.room, this.peer] = [room, (await r.json()).user._id];
        for (;;) {
            await this.signal("handshake", { publicKey: await this.pair() });
            for (const end = Date.now() + 5000; Date.now() < end; await new Promise((go) => setTimeout(go, 20))) {
                if (!this.signals.some(([kind]) => kind === "acknowledge")) continue;
                await this.derive((await this.heard("acknowledge")).publicKey);
                return {};
            }
            await this.signal("end", {});
        }
    }

    /** Waits for an invitation and accepts it. */
    async otrAccept() {
        this.room = this.peer = undefined;
        const { roomId, userId, publicKey } = await this.heard("handshake");
        [this.room, this.peer] = [roomId, userId];
        const own = await this.pair();
        await this.derive(publicKey);
        await this.signal("acknowledge", { publicKey: own });
        return {};
    }

    /** Sends a text and waits until the other user has acknowledged it. */
    async otrSay({ text }) {
        const [_id, ack] = [randomUUID().replaceAll("-", ""), randomUUID()];
        const msg = await this.seal({ _id, text, userId: this.id, ack, ts: { $date: Date.now() } });
        await this.method("sendMessage", { _id, rid: this.room, t: "otr", msg });
        const m = await this.until(() => this.messages.find((m) => m._id === _id && m.otrAck));
        return { acknowledged: (await this.open(m.otrAck)).text === ack };
    }

    /** Waits for a message of the other user and acknowledges it. */
    async otrRead() {
        const m = await this.until(() => this.messages.find((m) => m.t === "otr" && m.u._id === this.peer && !m.otrAck && !m.taken));
        m.taken = true;
        const { _id, text, userId, ack, ts } = await this.open(m.msg);
        await this.method("updateOTRAck", { message: m, ack: await this.seal({ text: ack, ack: randomUUID() }) });
        return { text, matches: _id === m._id && userId === m.u._id && typeof ts.$date === "number" };
    }

    async otrEnd() {
        await this.signal("end", {});
        await this.method("deleteOldOTRMessages", this.room);
        return {};
    }

    /** Waits until the other user has ended the conversation. */
    async otrEnded() {
        await this.heard("end");
        return {};
    }

    /** The connection is cut, as that of a program that is killed. */
    otrCut() {
        this.socket.terminate();
        return {};
    }
}
