// Encrypted attachments, with the package that Element Web seals and opens
// them with, in the form that it has for browsers.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// It takes WebCrypto from "window". A window for all would make the SDK take
// this for a browser, so it gets one of its own.
const library = {};
const source = readFileSync(createRequire(import.meta.url).resolve("matrix-encrypt-attachment/lib/webcrypto.js"), "utf8");
new Function("exports", "window", source)(library, { crypto: globalThis.crypto, atob, btoa });

/** Returns the ciphertext and the EncryptedFile without its url. */
export async function seal(plaintext) {
    const { data, info } = await library.encryptAttachment(plaintext);
    return { ciphertext: Buffer.from(data), file: info };
}

/** Checks the hash of the ciphertext, then opens it. */
export async function open(ciphertext, file) {
    return library.decryptAttachment(ciphertext, file);
}
