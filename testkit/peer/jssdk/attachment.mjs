// Encrypted attachments, version v2, with WebCrypto as Element Web uses it.

import { timingSafeEqual, webcrypto } from "node:crypto";

const unpadded = (bytes) => Buffer.from(bytes).toString("base64").replace(/=+$/, "");

/** Returns the ciphertext and the EncryptedFile without its url. */
export async function seal(plaintext) {
    const iv = new Uint8Array(16);
    webcrypto.getRandomValues(iv.subarray(0, 8));
    const key = await webcrypto.subtle.generateKey({ name: "AES-CTR", length: 256 }, true, ["encrypt", "decrypt"]);
    const ciphertext = Buffer.from(await webcrypto.subtle.encrypt({ name: "AES-CTR", counter: iv, length: 64 }, key, plaintext));
    const sha256 = await webcrypto.subtle.digest("SHA-256", ciphertext);
    const { kty, alg, k, ext, key_ops } = await webcrypto.subtle.exportKey("jwk", key);
    return { ciphertext, file: { v: "v2", key: { kty, alg, k, ext, key_ops }, iv: unpadded(iv), hashes: { sha256: unpadded(sha256) } } };
}

/** Checks the hash of the ciphertext, then opens it. */
export async function open(ciphertext, file) {
    const got = Buffer.from(await webcrypto.subtle.digest("SHA-256", ciphertext));
    const want = Buffer.from(file.hashes.sha256, "base64");
    if (got.length !== want.length || !timingSafeEqual(got, want)) throw new Error("the file's hash does not match");
    const key = await webcrypto.subtle.importKey("jwk", file.key, { name: "AES-CTR" }, false, ["encrypt", "decrypt"]);
    const counter = Buffer.from(file.iv, "base64");
    return webcrypto.subtle.decrypt({ name: "AES-CTR", counter, length: 64 }, key, ciphertext);
}
