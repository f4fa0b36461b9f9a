// The official ddp-client and api-client of Rocket.Chat with end-to-end encryption
// on WebCrypto, driven over standard input and output: each line in is one call, a
// JSON object {id, device, call, args, timeout}, each line out answers one.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { createHash } from "node:crypto";
import { WebSocket } from "ws";
import * as e2e from "./crypto.mjs";
import { OTRClient } from "./otr.mjs";

globalThis.WebSocket = WebSocket;
const { DDPSDK } = createRequire(import.meta.url)("@rocket.chat/ddp-client");

const digest = (s) => createHash("sha256").update(s).digest("hex");

class Client {
    keys = new Map(); // room keys, by room and id
    heard = [];
    waiting = [];

    async register({ server, username, password }) {
        this.server = server;
        const r = await fetch(`${server}/api/v1/users.register`, {
            method: "POST",
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify({ username, name: username, email: `${username}@example.org`, pass: password }),
        });
        if (!r.ok) throw new Error(await r.text());
        return this.login({ server, username, password });
    }

    async login({ server, username, password }) {
        this.server = server;
        this.sdk = await DDPSDK.createAndConnect(server.replace(/^http/, "ws"));
        this.sdk.rest.baseUrl = `${server}/api`;
        await this.sdk.account.loginWithPassword(username, digest(password));
        // Once more with the token, on a connection of its own.
        const second = await DDPSDK.createAndConnect(server.replace(/^http/, "ws"));
        const again = await second.account.loginWithToken(this.sdk.account.user.token);
        if (again.id !== this.sdk.account.uid) throw new Error("another user");
        second.connection.close();
        const hear = (...args) => this.hear(args);
        await this.sdk.stream("room-messages", "__my_messages__", (m) => hear("message", m)).ready();
        await this.sdk.stream("notify-user", `${this.sdk.account.uid}/subscriptions-changed`, (action, sub) => hear("sub", action, sub)).ready();
        return { id: this.sdk.account.uid, username: this.sdk.account.user.username };
    }

    hear(event) {
        this.heard.push(event);
        this.waiting = this.waiting.filter((look) => !look());
    }

    /** Waits until look gives something, which is asked again with each event. */
    async until(look) {
        for (;;) {
            const seen = this.heard.length;
            const found = await look();
            if (found !== undefined) return found;
            if (this.heard.length === seen) await new Promise((go) => this.waiting.push(() => (go(), true)));
        }
    }

    get(path, params) { return this.sdk.rest.get(`/v1/${path}`, params); }
    post(path, body) { return this.sdk.rest.post(`/v1/${path}`, body); }

    async setKeys({ password }) {
        const have = await this.get("e2e.fetchMyKeys");
        if (have.public_key) {
            this.pair = { public: have.public_key, private: await e2e.openPair(have.private_key, password, this.sdk.account.uid) };
            return {};
        }
        this.pair = await e2e.makePair();
        await this.post("e2e.setUserPublicAndPrivateKeys", { public_key: this.pair.public, private_key: await e2e.sealPair(this.pair.private, password, this.sdk.account.uid) });
        return {};
    }

    async group({ name, members }) {
        const { group } = await this.post("groups.create", { name, members, extraData: { encrypted: true } });
        return { room: group._id };
    }

    async makeKey({ room }) {
        const key = await e2e.makeRoomKey();
        try {
            await this.post("e2e.setRoomKeyID", { rid: room, keyID: key.id });
        } catch (e) {
            const body = typeof e?.json === "function" ? await e.json() : e;
            if (body?.errorType !== "error-room-e2e-key-already-exists") throw e;
            return { lost: true };
        }
        this.keys.set(`${room} ${key.id}`, key);
        await this.post("e2e.updateGroupKey", { rid: room, uid: this.sdk.account.uid, key: await e2e.wrap(key, this.pair.public) });
        const { users } = await this.get("e2e.getUsersOfRoomWithoutKey", { rid: room });
        await this.provide(room, key, users.map((u) => ({ id: u._id, public: u.e2e.public_key })));
        return { lost: false, shared: users.length };
    }

    async provide(room, key, users) {
        const list = [];
        for (const u of users) list.push({ _id: u.id, key: await e2e.wrap(key, u.public) });
        if (list.length) await this.post("e2e.provideUsersSuggestedGroupKeys", { usersSuggestedGroupKeys: { [room]: list } });
    }

    async serve({ room }) {
        const waiting = (await this.get("e2e.fetchUsersWaitingForGroupKey", { roomIds: [room] })).usersWaitingForE2EKeys[room] ?? [];
        await this.provide(room, await this.key(room), waiting.map((u) => ({ id: u._id, public: u.public_key })));
        return { served: waiting.length };
    }

    /** The room's key: from memory, from the own subscription, or offered. */
    async key(room, id) {
        const { subscription } = await this.get("subscriptions.getOne", { roomId: room });
        if (subscription?.E2ESuggestedKey) {
            const key = await e2e.unwrap(subscription.E2ESuggestedKey, this.pair.private);
            this.keys.set(`${room} ${key.id}`, key);
            await this.post("e2e.acceptSuggestedGroupKey", { rid: room });
        } else if (subscription?.E2EKey) {
            const key = await e2e.unwrap(subscription.E2EKey, this.pair.private);
            this.keys.set(`${room} ${key.id}`, key);
        }
        for (const old of subscription?.oldRoomKeys ?? []) {
            const key = await e2e.unwrap(old.E2EKey, this.pair.private);
            this.keys.set(`${room} ${key.id}`, key);
        }
        const { room: info } = await this.get("rooms.info", { roomId: room });
        return this.keys.get(`${room} ${id ?? info.e2eKeyId}`);
    }

    async send({ room, text }) {
        const key = await this.until(() => this.key(room));
        const content = await e2e.sealContent(key, { msg: text });
        const { message } = await this.post("chat.sendMessage", { message: { rid: room, t: "e2e", e2e: "pending", content } });
        return { id: message._id };
    }

    async open(m) {
        const id = m.content ? m.content.kid ?? m.content.ciphertext.slice(0, 12) : m.msg.slice(0, 12);
        const key = this.keys.get(`${m.rid} ${id}`) ?? (await this.key(m.rid, id));
        if (!key) return undefined;
        return m.content ? e2e.openContent(key, m.content) : e2e.openString(key, m.msg);
    }

    /** Waits for a live event with a message of that text. */
    async read({ text }) {
        return this.until(async () => {
            for (const [kind, m] of this.heard) {
                if (kind !== "message" || m.t !== "e2e") continue;
                const plain = await this.open(m);
                if (plain && (plain.msg ?? plain.text) === text) {
                    if (!(m.ts instanceof Date) && !m.ts?.$date) throw new Error("the time of a message is no date");
                    return { id: m._id, sender: m.u.username, plain };
                }
            }
        });
    }

    async upload({ room, name, text, contents }) {
        const key = await this.until(() => this.key(room));
        const f = await e2e.sealFile(Buffer.from(contents));
        const form = new FormData();
        form.append("content", JSON.stringify(await e2e.sealContent(key, { type: "text/plain", typeGroup: "text", name, encryption: f.encryption, hashes: f.hashes })));
        form.append("file", new Blob([f.sealed]), digest(name));
        const r = await fetch(`${this.server}/api/v1/rooms.media/${room}`, { method: "POST", headers: this.sdk.rest.getCredentialsAsHeaders(), body: form });
        if (!r.ok) throw new Error(await r.text());
        const { file } = await r.json();
        const attachment = { title: name, type: "file", title_link: file.url, title_link_download: true, encryption: f.encryption, hashes: f.hashes, size: contents.length, format: "TXT" };
        const content = await e2e.sealContent(key, { msg: text, attachments: [attachment] });
        const { message } = await this.post(`rooms.mediaConfirm/${room}/${file._id}`, { t: "e2e", content });
        return { id: message._id };
    }

    async download({ plain }) {
        const a = plain.attachments[0];
        const r = await fetch(this.server + a.title_link, { headers: this.sdk.rest.getCredentialsAsHeaders() });
        if (!r.ok) throw new Error(await r.text());
        return { contents: Buffer.from(await e2e.openFile(new Uint8Array(await r.arrayBuffer()), a.encryption, a.hashes)).toString() };
    }

    async reset({ room }) {
        const key = await e2e.makeRoomKey();
        await this.post("e2e.resetRoomKey", { rid: room, e2eKey: await e2e.wrap(key, this.pair.public), e2eKeyId: key.id });
        this.keys.set(`${room} ${key.id}`, key);
        return this.serve({ room });
    }

    /** What only computes: the other implementation of each form. */
    async form({ what, args }) {
        return { result: await e2e[what](...args) };
    }
}

const clients = new Map();

function answer(message) {
    process.stdout.write(JSON.stringify(message) + "\n");
}

async function serve({ id, device, call, args = {}, timeout = 30000 }) {
    let timer;
    try {
        if (!clients.has(device)) clients.set(device, call.startsWith("spec") ? new OTRClient() : new Client());
        const late = new Promise((_, no) => (timer = setTimeout(() => no(new Error(`${call} took longer than ${timeout} ms`)), timeout)));
        answer({ id, ok: true, result: (await Promise.race([clients.get(device)[call](args), late])) ?? {} });
    } catch (e) {
        const body = typeof e?.text === "function" ? await e.text().catch(() => "") : "";
        answer({ id, ok: false, error: String(e?.message ?? e) + " " + body + (e?.stack ?? "") });
    } finally {
        clearTimeout(timer);
    }
}

process.on("unhandledRejection", (e) => console.error("unhandled rejection:", e));
for await (const line of createInterface({ input: process.stdin })) void serve(JSON.parse(line));
process.exit(0);
