// Key backup, secret storage on a new device, dehydrated devices, exported keys.

import { OlmMachine } from "@matrix-org/matrix-sdk-crypto-wasm";
import { CryptoEvent } from "matrix-js-sdk/lib/crypto-api/CryptoEvent.js";
import { decodeRecoveryKey } from "matrix-js-sdk/lib/crypto-api/recovery-key.js";

export const calls = {
    /** Takes the identity from secret storage with the recovery key or the passphrase, and signs this device with it. */
    async unlock({ recoveryKey, passphrase }) {
        const crypto = this.client.getCrypto();
        if (passphrase) this.passphrase = passphrase;
        else this.secretKey = decodeRecoveryKey(recoveryKey);
        if (!(await crypto.userHasCrossSigningKeys(this.account.session.user_id, true))) throw new Error("the user has no identity");
        await crypto.bootstrapCrossSigning({
            authUploadDeviceSigningKeys: async () => {
                throw new Error("the identity would have been replaced");
            },
        });
    },

    /** Takes the backup key from secret storage and all room keys from the backup. */
    async restore({ recoveryKey }) {
        const crypto = this.client.getCrypto();
        if (recoveryKey) this.secretKey = decodeRecoveryKey(recoveryKey);
        await crypto.loadSessionBackupPrivateKeyFromSecretStorage();
        await crypto.checkKeyBackupAndEnable();
        const { total, imported } = await crypto.restoreKeyBackup();
        return { total, imported };
    },

    /** Waits until the backup on the server holds this many keys. */
    async untilBackedUp({ count }) {
        await this.untilAsync(async () => (await this.client.http.authedRequest("GET", "/room_keys/version")).count >= count);
    },

    /** Leaves a device on the server that takes in keys while no other is there. */
    async dehydrate() {
        const crypto = this.client.getCrypto();
        if (!(await crypto.isDehydrationSupported())) throw new Error("the server knows no dehydrated devices");
        await crypto.startDehydration({ createNewKey: true, rehydrate: false });
    },

    /** Takes over what the device on the server was sent, and leaves a new one. */
    async rehydrate() {
        const crypto = this.client.getCrypto();
        const counted = new Promise((resolve) => {
            let keys = 0;
            this.client.on(CryptoEvent.RehydrationProgress, (roomKeys) => (keys = roomKeys));
            this.client.once(CryptoEvent.RehydrationCompleted, () => resolve(keys));
        });
        const failed = new Promise((_, reject) => this.client.once(CryptoEvent.RehydrationError, (e) => reject(new Error(e))));
        await crypto.startDehydration({ rehydrate: true });
        return { keys: await Promise.race([counted, failed]) };
    },

    async exportKeys() {
        return { keys: await this.client.getCrypto().exportRoomKeysAsJson() };
    },

    async importKeys({ keys }) {
        await this.client.getCrypto().importRoomKeysAsJson(keys);
    },

    /** The room keys in a file under a passphrase, as the Rust crypto writes it. */
    async exportFile({ passphrase, rounds = 100_000 }) {
        return { file: OlmMachine.encryptExportedRoomKeys(await this.client.getCrypto().exportRoomKeysAsJson(), passphrase, rounds) };
    },

    /** Takes the room keys of such a file. */
    async importFile({ passphrase, file }) {
        await this.client.getCrypto().importRoomKeysAsJson(OlmMachine.decryptExportedRoomKeys(file, passphrase));
    },
};
