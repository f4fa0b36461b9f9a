// Key backup, secret storage on a new device, and exported keys.

import { decodeRecoveryKey } from "matrix-js-sdk/lib/crypto-api/recovery-key.js";

export const calls = {
    /** Takes the identity from secret storage with the recovery key, and signs this device with it. */
    async unlock({ recoveryKey }) {
        this.secretKey = decodeRecoveryKey(recoveryKey);
        await this.client.getCrypto().bootstrapCrossSigning({
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

    /** Waits until the backup on the server holds every key of this device. */
    async untilBackedUp({ count }) {
        const crypto = this.client.getCrypto();
        await this.untilAsync(async () => {
            if ((await crypto.getActiveSessionBackupVersion()) === null) return false;
            const info = await crypto.getKeyBackupInfo();
            return info !== null && info.count >= count;
        });
    },

    /** The version of the backup on the server and the number of keys in it. */
    async backupInfo() {
        const info = await this.client.getCrypto().getKeyBackupInfo();
        return info ? { version: info.version, count: info.count } : { version: "", count: 0 };
    },

    async exportKeys() {
        return { keys: await this.client.getCrypto().exportRoomKeysAsJson() };
    },

    async importKeys({ keys }) {
        await this.client.getCrypto().importRoomKeysAsJson(keys);
    },
};
