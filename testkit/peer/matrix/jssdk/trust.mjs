// Cross-signing, and verification by emoji.

import { VerificationPhase, VerificationRequestEvent, VerifierEvent } from "matrix-js-sdk/lib/crypto-api/verification.js";

/** Keeps a request so that later calls can name it by its number. */
export function note(device, request) {
    const known = device.requests.indexOf(request);
    if (known >= 0) return known;
    request.on(VerificationRequestEvent.Change, () => device.poke());
    device.requests.push(request);
    return device.requests.length - 1;
}

/** Fails a wait as soon as the flow is cancelled. */
function alive(request) {
    if (request.phase === VerificationPhase.Cancelled) {
        throw new Error(`verification cancelled: ${request.cancellationCode}`);
    }
    return request;
}

/** Runs a verifier and keeps what it shows and how it ends. */
function run(device, request, verifier) {
    const flow = (request.quinta ??= {});
    if (flow.verifier) return flow;
    flow.verifier = verifier;
    verifier.on(VerifierEvent.ShowSas, (sas) => {
        flow.sas = sas;
        device.poke();
    });
    verifier.verify().then(
        () => {
            flow.done = true;
            device.poke();
        },
        (e) => {
            flow.error = e;
            device.poke();
        },
    );
    flow.sas ??= verifier.getShowSasCallbacks();
    return flow;
}

export const calls = {
    /** Makes cross-signing keys, secret storage and a key backup; answers the recovery key, which is made of the passphrase if there is one. */
    async bootstrap({ passphrase }) {
        const crypto = this.client.getCrypto();
        await crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: (request) => this.interactive(request) });
        const made = await crypto.createRecoveryKeyFromPassphrase(passphrase);
        await crypto.bootstrapSecretStorage({
            createSecretStorageKey: async () => made,
            setupNewSecretStorage: true,
            setupNewKeyBackup: true,
        });
        await crypto.checkKeyBackupAndEnable();
        return { recoveryKey: made.encodedPrivateKey };
    },

    /** Replaces the cross-signing keys, with the password. */
    async resetIdentity() {
        const crypto = this.client.getCrypto();
        await crypto.bootstrapCrossSigning({
            setupNewCrossSigning: true,
            authUploadDeviceSigningKeys: (request) => this.interactive(request),
        });
    },

    /** What this device holds of its own identity. */
    async crossSigning() {
        const crypto = this.client.getCrypto();
        const status = await crypto.getCrossSigningStatus();
        return {
            ready: await crypto.isCrossSigningReady(),
            private: Object.values(status.privateKeysCachedLocally).every(Boolean),
            stored: status.privateKeysInSecretStorage,
        };
    },

    /** Waits until this device has the private keys of its own identity. */
    async untilPrivateKeys() {
        await this.untilAsync(async () => (await this.crossSigning()).private);
    },

    /** Waits until this device trusts the user's identity. */
    async untilUserVerified({ user, verified = true }) {
        await this.untilAsync(async () => (await this.client.getCrypto().getUserVerificationStatus(user)).isVerified() === verified);
    },

    /** What this device thinks of a user's identity. */
    async userStatus({ user }) {
        const status = await this.client.getCrypto().getUserVerificationStatus(user);
        return { verified: status.isVerified(), was: status.wasCrossSigningVerified(), changed: status.needsUserApproval, known: status.known };
    },

    /** Waits until this device knows another one and sees it as cross-signed, or not. */
    async untilDevice({ user, device, signed }) {
        const crypto = this.client.getCrypto();
        await this.untilAsync(async () => {
            await crypto.getUserDeviceInfo([user], true);
            const status = await crypto.getDeviceVerificationStatus(user, device);
            return status !== null && (signed === undefined || status.signedByOwner === signed);
        });
    },

    /** Waits until this device knows exactly these devices of a user. */
    async untilKnown({ user, devices }) {
        await this.untilAsync(async () => {
            const known = await this.client.getCrypto().getUserDeviceInfo([user], true);
            return JSON.stringify([...(known.get(user)?.keys() ?? [])].sort()) === JSON.stringify([...devices].sort());
        });
    },

    /** Asks to verify: a user in a room, one device, or the other devices of this user. */
    async askVerification({ user, device, room }) {
        const crypto = this.client.getCrypto();
        if (room) return { flow: note(this, await crypto.requestVerificationDM(user, room)) };
        if (device) return { flow: note(this, await crypto.requestDeviceVerification(user, device)) };
        return { flow: note(this, await crypto.requestOwnUserVerification()) };
    },

    /** Waits to be asked by user, and agrees. */
    async acceptVerification({ user }) {
        const fresh = () => this.requests.findIndex((r) => !r.initiatedByMe && r.otherUserId === user && r.phase === VerificationPhase.Requested);
        const index = await this.until(() => {
            const found = fresh();
            return found >= 0 ? { found } : null;
        });
        await this.requests[index.found].accept();
        return { flow: index.found };
    },

    /** Waits for the other side's agreement and begins with emoji. */
    async startVerification({ flow }) {
        const request = this.requests[flow];
        await this.until(() => alive(request).phase === VerificationPhase.Ready);
        run(this, request, await request.startVerification("m.sas.v1"));
    },

    /** Waits for the emoji of this flow. */
    async emoji({ flow }) {
        const request = this.requests[flow];
        await this.until(() => {
            if (alive(request).verifier) run(this, request, request.verifier);
            return request.quinta?.sas;
        });
        const { emoji, decimal } = request.quinta.sas.sas;
        return { emoji: emoji.map(([, name]) => name), decimal };
    },

    /** Says whether the emoji are the same on both sides, and waits for the end. */
    async confirm({ flow, same }) {
        const request = this.requests[flow];
        if (!same) {
            request.quinta.sas.mismatch();
            await this.until(() => request.phase === VerificationPhase.Cancelled);
            return { cancelled: request.cancellationCode };
        }
        await request.quinta.sas.confirm();
        await this.until(() => {
            if (request.quinta.error) throw request.quinta.error;
            return alive(request).phase === VerificationPhase.Done;
        });
        return { cancelled: "" };
    },

    /** Waits for the other side's agreement and makes a code for it to scan; answers its bytes. */
    async showCode({ flow }) {
        const request = this.requests[flow];
        await this.until(() => alive(request).phase === VerificationPhase.Ready);
        const bytes = await request.generateQRCode();
        if (!bytes) throw new Error("there is nothing that a code could show");
        return { code: Buffer.from(bytes).toString("base64") };
    },

    /** Waits until the other side has scanned the code, confirms it, and waits for the end. */
    async confirmScan({ flow }) {
        const request = this.requests[flow];
        const callbacks = await this.until(() => alive(request).verifier?.getReciprocateQrCodeCallbacks());
        callbacks.confirm();
        await this.until(() => alive(request).phase === VerificationPhase.Done);
    },

    /** Waits for the other side's agreement, scans its code, and waits for the end. */
    async scanCode({ flow, code }) {
        const request = this.requests[flow];
        await this.until(() => alive(request).phase === VerificationPhase.Ready);
        const verifier = await request.scanQRCode(Uint8ClampedArray.from(Buffer.from(code, "base64")));
        await verifier.verify();
    },

    /** Waits until the flow is cancelled, and says why. */
    async untilCancelled({ flow }) {
        const request = this.requests[flow];
        await this.until(() => request.phase === VerificationPhase.Cancelled);
        return { cancelled: request.cancellationCode };
    },
};
