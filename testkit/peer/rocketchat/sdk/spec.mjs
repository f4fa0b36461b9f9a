// A client that uses nothing but the specification: its six methods and
// getUsersOfRoom under their own names over DDP, its formats, and WebCrypto.

import { WebSocket } from "ws";
import { createHash } from "node:crypto";

const { subtle } = globalThis.crypto;
const utf8 = new TextEncoder();
const text = (b) => new TextDecoder("utf-8", { fatal: true }).decode(b);
const b64 = (b) => Buffer.from(b).toString("base64");
const unb64 = (s) => new Uint8Array(Buffer.from(s, "base64"));
const random = (n) => globalThis.crypto.getRandomValues(new Uint8Array(n));
const join = (...parts) => new Uint8Array(Buffer.concat(parts.map((p) => Buffer.from(p))));
const oaep = { name: "RSA-OAEP", hash: "SHA-256" };
const KEY_ID = 12;

async function masterKey(password, salt) {
    const base = await subtle.importKey("raw", utf8.encode(password), "PBKDF2", false, ["deriveKey"]);
    return subtle.deriveKey({ name: "PBKDF2", hash: "SHA-256", salt: utf8.encode(salt), iterations: 1000 }, base, { name: "AES-CBC", length: 256 }, false, ["encrypt", "decrypt"]);
}

export class SpecClient {
    pending = new Map();
    messages = [];
    listeners = [];
    sessions = new Map(); // session keys, by room
    next = 1;

    /** Not of the specification: how an account comes to be. */
    async specRegister({ server, username, password }) {
        const r = await fetch(`${server}/api/v1/users.register`, {
            method: "POST",
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify({ username, name: username, email: `${username}@example.org`, pass: password }),
        });
        if (!r.ok) throw new Error(await r.text());
        return this.specLogin({ server, username, password });
    }

    /** Opens the connection and logs in. */
    async specLogin({ server, username, password }) {
        this.server = server;
        this.socket = new WebSocket(server.replace(/^http/, "ws") + "/websocket");
        await new Promise((ok, no) => (this.socket.on("open", ok), this.socket.on("error", no)));
        this.socket.on("message", (raw) => this.take(JSON.parse(raw)));
        const connected = new Promise((ok) => (this.connected = ok));
        this.write({ msg: "connect", version: "1", support: ["1"] });
        await connected;
        const digest = createHash("sha256").update(password).digest("hex");
        const login = await this.method("login", { user: { username }, password: { digest, algorithm: "sha-256" } });
        [this.id, this.token] = [login.id, login.token];
        const ready = new Promise((ok) => (this.ready = ok));
        this.write({ msg: "sub", id: "messages", name: "stream-room-messages", params: ["__my_messages__", false] });
        await ready;
        return { id: this.id };
    }

    write(frame) { this.socket.send(JSON.stringify(frame)); }

    take(f) {
        if (f.msg === "ping") this.write({ msg: "pong", id: f.id });
        if (f.msg === "connected") this.connected();
        if (f.msg === "ready") this.ready?.();
        if (f.msg === "result") {
            const p = this.pending.get(f.id);
            this.pending.delete(f.id);
            if (f.error) p.no(new Error(JSON.stringify(f.error)));
            else p.ok(f.result ?? null);
        }
        if (f.msg === "changed" && f.collection === "stream-room-messages") {
            this.messages.push(f.fields.args[0]);
            for (const go of this.listeners.splice(0)) go();
        }
    }

    method(method, ...params) {
        const id = String(this.next++);
        return new Promise((ok, no) => {
            this.pending.set(id, { ok, no });
            this.write({ msg: "method", method, params, id });
        });
    }

    /** startClient(): the pair of the server, or a new one. */
    async specStart({ password }) {
        const have = await this.method("fetchMyKeys");
        const master = await masterKey(password, this.id);
        if (have["RSA-EPrivKey"]) {
            const raw = unb64(JSON.parse(have["RSA-EPrivKey"]).$binary);
            const jwk = JSON.parse(text(await subtle.decrypt({ name: "AES-CBC", iv: raw.slice(0, 16) }, master, raw.slice(16))));
            this.Kr = await subtle.importKey("jwk", jwk, oaep, true, ["decrypt"]);
            return { made: false };
        }
        const pair = await subtle.generateKey({ ...oaep, modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) }, true, ["encrypt", "decrypt"]);
        this.Kr = pair.privateKey;
        const iv = random(16);
        const sealed = await subtle.encrypt({ name: "AES-CBC", iv }, master, utf8.encode(JSON.stringify(await subtle.exportKey("jwk", pair.privateKey))));
        const stored = await this.method("addKeyToChain", {
            "RSA-PubKey": JSON.stringify(await subtle.exportKey("jwk", pair.publicKey)),
            "RSA-EPrivKey": JSON.stringify({ $binary: b64(join(iv, sealed)) }),
        });
        if (stored !== null) throw new Error("addKeyToChain gave " + JSON.stringify(stored));
        return { made: true };
    }

    /** handshake(): the wrapped session key of this user, or a new key for all members. */
    async specHandshake({ room }) {
        const wrapped = await this.method("fetchGroupE2EKey", room);
        if (wrapped) {
            const sealed = unb64(wrapped.slice(-344));
            const jwk = JSON.parse(text(await subtle.decrypt({ name: "RSA-OAEP" }, this.Kr, sealed)));
            this.sessions.set(room, { id: wrapped.slice(0, -344), key: await subtle.importKey("jwk", jwk, { name: "AES-CBC" }, false, ["encrypt", "decrypt"]) });
            return { made: false };
        }
        const key = await subtle.generateKey({ name: "AES-CBC", length: 128 }, true, ["encrypt", "decrypt"]);
        const exported = utf8.encode(JSON.stringify(await subtle.exportKey("jwk", key)));
        const id = b64(exported).slice(0, KEY_ID);
        const { records } = await this.method("getUsersOfRoom", room);
        for (const { _id } of records) {
            const chain = await this.method("fetchKeychain", _id);
            if (_id !== this.id && chain["RSA-EPrivKey"]) throw new Error("another user's private key was handed out");
            const Ku = await subtle.importKey("jwk", JSON.parse(chain["RSA-PubKey"]), oaep, false, ["encrypt"]);
            await this.method("updateGroupE2EKey", room, _id, id + b64(await subtle.encrypt({ name: "RSA-OAEP" }, Ku, exported)));
        }
        this.sessions.set(room, { id, key });
        return { made: true };
    }

    /** onClientBeforeSendMessage: only { msg, t } leaves. */
    async specSend({ room, text: msg }) {
        const s = this.sessions.get(room);
        const [_id, iv] = [Buffer.from(random(12)).toString("hex"), random(16)];
        const plain = JSON.stringify({ _id, text: msg, userId: this.id, ts: { $date: Date.now() } });
        const sealed = await subtle.encrypt({ name: "AES-CBC", iv }, s.key, utf8.encode(plain));
        await this.method("sendMessage", { _id, rid: room, t: "e2e", msg: s.id + b64(join(iv, sealed)) });
        return { id: _id };
    }

    /** onClientReceivedMessage: waits for a message of that text. */
    async specRead({ room, text: want }) {
        for (;;) {
            for (const m of this.messages) {
                if (m.t !== "e2e" || m.rid !== room || !m.msg) continue;
                const s = this.sessions.get(room);
                if (!s || !m.msg.startsWith(s.id)) continue;
                const raw = unb64(m.msg.slice(KEY_ID));
                const plain = JSON.parse(text(await subtle.decrypt({ name: "AES-CBC", iv: raw.slice(0, 16) }, s.key, raw.slice(16))));
                if (plain.text === want) return { sender: m.u.username, id: plain._id, matches: plain._id === m._id && plain.userId === m.u._id && typeof plain.ts.$date === "number" };
            }
            await new Promise((go) => this.listeners.push(go));
        }
    }

    /** Not of the specification: how a direct conversation comes to be. */
    async specOpen({ username }) {
        const r = await fetch(`${this.server}/api/v1/im.create`, {
            method: "POST",
            headers: { "Content-Type": "application/json", "X-User-Id": this.id, "X-Auth-Token": this.token },
            body: JSON.stringify({ username }),
        });
        if (!r.ok) throw new Error(await r.text());
        return { room: (await r.json()).room.rid };
    }
}
