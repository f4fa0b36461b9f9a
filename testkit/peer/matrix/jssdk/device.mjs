// One device of one user: an SDK client with its stores, and what it has seen.

import * as sdk from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";
import { AllDevicesIsolationMode, CryptoEvent, OnlySignedDevicesIsolationMode } from "matrix-js-sdk/lib/crypto-api/index.js";
import { deriveRecoveryKeyFromPassphrase } from "matrix-js-sdk/lib/crypto-api/key-passphrase.js";
import * as rooms from "./rooms.mjs";
import * as trust from "./trust.mjs";
import * as backup from "./backup.mjs";

logger.setLevel(process.env.QUINTA_PEER_LOG ? "debug" : "warn", false);

export class Device {
    constructor(name) {
        this.name = name;
        this.waiters = new Set();
        this.requests = [];
        this.secretKey = null;
        this.calls = new Set();
        this.passphrase = "";
        this.synced = 0;
        this.turns = 0;
        this.last = Promise.resolve();
    }

    /** Says in a few words how the client is, for errors. */
    state() {
        if (!this.client) return "not logged in";
        return `sync is ${this.client.getSyncState()}, ${this.client.getRooms().length} rooms`;
    }

    /** Makes an account and a device on it. */
    async register({ server, username, password, device }) {
        const entry = sdk.createClient({ baseUrl: server });
        const session = await entry.registerRequest({
            username,
            password,
            ...(device ? { device_id: device } : {}),
            auth: { type: "m.login.dummy" },
        });
        return this.open(server, password, session);
    }

    /** Makes a device on an account that is there. */
    async login({ server, username, password, device }) {
        const entry = sdk.createClient({ baseUrl: server });
        const session = await entry.loginRequest({
            type: "m.login.password",
            identifier: { type: "m.id.user", user: username },
            password,
            ...(device ? { device_id: device } : {}),
        });
        return this.open(server, password, session);
    }

    async open(server, password, session) {
        this.account = { server, password, session };
        await this.build();
        return { user: session.user_id, device: session.device_id, token: session.access_token };
    }

    /** Makes the client over this device's stores, which outlive it. */
    async build() {
        const { server, session } = this.account;
        const store = new sdk.IndexedDBStore({ indexedDB: globalThis.indexedDB, dbName: `sync-${this.name}` });
        const life = (this.life = { over: false });
        const never = () => new Promise(() => {});
        this.client = sdk.createClient({
            baseUrl: server,
            // After a crash nothing leaves any more, and no answer arrives.
            fetchFn: async (...request) => {
                if (life.over) return never();
                const sent = String(request[0]).includes("/sendToDevice/") ? this.inTurn(() => fetch(...request)) : fetch(...request);
                const answer = await sent;
                return life.over ? never() : answer;
            },
            userId: session.user_id,
            deviceId: session.device_id,
            accessToken: session.access_token,
            store,
            // As in Element. Without it the SDK forgets a stretch of a room
            // when a sync leaves messages out, but not one that is just being
            // fetched: what is in that then stands in the room twice.
            timelineSupport: true,
            verificationMethods: ["m.sas.v1", "m.qr_code.show.v1", "m.qr_code.scan.v1", "m.reciprocate.v1"],
            cryptoCallbacks: {
                getSecretStorageKey: async ({ keys }) => {
                    const id = Object.keys(keys)[0];
                    const from = keys[id]?.passphrase;
                    if (this.passphrase && from) {
                        return [id, await deriveRecoveryKeyFromPassphrase(this.passphrase, from.salt, from.iterations, from.bits)];
                    }
                    return this.secretKey && id ? [id, this.secretKey] : null;
                },
                cacheSecretStorageKey: (_id, _info, key) => {
                    this.secretKey = key;
                },
            },
        });
        await store.startup();
        await this.client.initRustCrypto({ useIndexedDB: true, cryptoDatabasePrefix: `crypto-${this.name}` });
        this.listen();
    }

    /**
     * Sends one message to devices after the other. The SDK lets two leave at
     * once, and a verification in which "done" overtakes "mac" never ends.
     */
    inTurn(send) {
        const sent = this.last.then(send);
        this.last = sent.catch(() => {});
        return sent;
    }

    /** Wakes the waiters at whatever happens, and notes verification requests. */
    listen() {
        const poke = () => this.poke();
        for (const event of [
            sdk.ClientEvent.Room,
            sdk.ClientEvent.ToDeviceEvent,
            sdk.ClientEvent.AccountData,
            sdk.RoomEvent.Timeline,
            sdk.RoomEvent.TimelineReset,
            sdk.RoomEvent.MyMembership,
            sdk.RoomEvent.LocalEchoUpdated,
            sdk.RoomMemberEvent.Membership,
            sdk.RoomStateEvent.Events,
            sdk.MatrixEventEvent.Decrypted,
            CryptoEvent.DevicesUpdated,
            CryptoEvent.KeysChanged,
            CryptoEvent.UserTrustStatusChanged,
            CryptoEvent.KeyBackupStatus,
            CryptoEvent.KeyBackupSessionsRemaining,
        ]) {
            this.client.on(event, poke);
        }
        this.client.on(sdk.ClientEvent.Sync, (now) => {
            if (now === sdk.SyncState.Prepared || now === sdk.SyncState.Syncing) this.synced++;
            this.poke();
        });
        this.client.on(CryptoEvent.VerificationRequestReceived, (request) => {
            trust.note(this, request);
            this.poke();
        });
    }

    poke() {
        this.turns++;
        for (const waiter of [...this.waiters]) waiter();
    }

    /** Resolves with the first truthy value of check, looked at after every event. */
    until(check) {
        return new Promise((resolve, reject) => {
            const waiter = () => {
                try {
                    const found = check();
                    if (!found) return;
                    this.waiters.delete(waiter);
                    resolve(found);
                } catch (e) {
                    this.waiters.delete(waiter);
                    reject(e);
                }
            };
            this.waiters.add(waiter);
            waiter();
        });
    }

    /** As until, for a check that asks the server: not all that it may answer comes with an event, so it is asked again now and then. */
    async untilAsync(check) {
        for (;;) {
            const before = this.turns;
            const found = await check();
            if (found) return found;
            const later = setTimeout(() => this.poke(), 200);
            await this.until(() => this.turns !== before);
            clearTimeout(later);
        }
    }

    /** Starts to sync, and answers when the first sync is done and this device's keys can be had by others. */
    async start({ lazy = true, limit = 20 }) {
        const before = this.synced;
        await this.client.startClient({
            initialSyncLimit: limit,
            lazyLoadMembers: lazy,
            pendingEventOrdering: sdk.PendingEventOrdering.Detached,
        });
        await this.until(() => this.synced > before);
        const { user_id: user, device_id: device } = this.account.session;
        await this.untilAsync(async () => {
            const known = await this.client.http.authedRequest("POST", "/keys/query", undefined, { device_keys: { [user]: [device] } });
            return known.device_keys[user]?.[device];
        });
    }

    /**
     * Ends the client as if its program were closed; with save: false, as if it were killed: the line is cut in the
     * middle of whatever it does, and its stores hold what was written by then.
     */
    async stop({ save = true }) {
        if (save) {
            await this.client.store.save(true);
        } else {
            this.life.over = true;
            for (const fail of this.calls) fail(new Error("the client was killed"));
        }
        this.client.stopClient();
        this.client.removeAllListeners();
        this.requests = [];
    }

    /** A new client over the stores of the stopped one. */
    async reopen({ server }) {
        if (server) this.account.server = server;
        await this.build();
    }

    /** Tells the client that the network is back, as a browser does. */
    async online() {
        const before = this.synced;
        this.client.retryImmediately();
        await this.until(() => this.synced > before && this.client.getSyncState() === sdk.SyncState.Syncing);
    }

    /** The account's devices, as the server lists them. */
    async devices() {
        const { devices } = await this.client.getDevices();
        return { devices: devices.map((d) => d.device_id) };
    }

    /** Deletes a device of this account, with the password. */
    async deleteDevice({ device }) {
        await this.interactive((auth) => this.client.deleteDevice(device, auth ?? undefined));
    }

    async logout() {
        await this.client.logout(true);
        this.client.removeAllListeners();
    }

    /** The public keys of this device. */
    async ownKeys() {
        return this.client.getCrypto().getOwnDeviceKeys();
    }

    /** Sends to devices without a cross-signature, or not. */
    async isolate({ signed }) {
        const mode = signed ? new OnlySignedDevicesIsolationMode() : new AllDevicesIsolationMode(false);
        this.client.getCrypto().setDeviceIsolationMode(mode);
    }

    /** Calls request, and once more with the password if the server asks for it. */
    async interactive(request) {
        try {
            return await request(null);
        } catch (e) {
            if (e.httpStatus !== 401 || !e.data?.session) throw e;
            return request({
                type: "m.login.password",
                identifier: { type: "m.id.user", user: this.account.session.user_id },
                password: this.account.password,
                session: e.data.session,
            });
        }
    }
}

for (const calls of [rooms.calls, trust.calls, backup.calls]) Object.assign(Device.prototype, calls);

/** The names that may be called from outside. */
Device.calls = new Set([
    ...["register", "login", "start", "stop", "reopen", "online"],
    ...["devices", "deleteDevice", "logout", "ownKeys", "isolate"],
    ...[rooms.calls, trust.calls, backup.calls].flatMap(Object.keys),
]);
