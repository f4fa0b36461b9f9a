// The end-to-end encryption of Rocket.Chat on WebCrypto alone, written for these
// tests from the description of its formats: another implementation than the one
// that is tested.

const { subtle } = globalThis.crypto;
const utf8 = new TextEncoder();
const text = (b) => new TextDecoder("utf-8", { fatal: true }).decode(b);
const b64 = (b) => Buffer.from(b).toString("base64");
const unb64 = (s) => new Uint8Array(Buffer.from(s, "base64"));
const binary = (s) => Uint8Array.from(s, (c) => c.charCodeAt(0));
const random = (n) => globalThis.crypto.getRandomValues(new Uint8Array(n));
const join = (...parts) => new Uint8Array(Buffer.concat(parts.map((p) => Buffer.from(p))));
const oaep = { name: "RSA-OAEP", hash: "SHA-256" };

export async function makePair() {
    const pair = await subtle.generateKey({ ...oaep, modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) }, true, ["encrypt", "decrypt"]);
    return { public: JSON.stringify(await subtle.exportKey("jwk", pair.publicKey)), private: JSON.stringify(await subtle.exportKey("jwk", pair.privateKey)) };
}

async function master(password, salt, iterations, name) {
    const base = await subtle.importKey("raw", binary(password), "PBKDF2", false, ["deriveKey"]);
    return subtle.deriveKey({ name: "PBKDF2", hash: "SHA-256", salt: binary(salt), iterations }, base, { name, length: 256 }, false, ["encrypt", "decrypt"]);
}

export async function sealPair(jwk, password, user, form) {
    if (form === "v1") {
        const iv = random(16);
        const sealed = await subtle.encrypt({ name: "AES-CBC", iv }, await master(password, user, 1000, "AES-CBC"), binary(jwk));
        return JSON.stringify({ $binary: b64(join(iv, sealed)) });
    }
    const iv = random(12);
    const salt = `v2:${user}:${globalThis.crypto.randomUUID()}`;
    const sealed = await subtle.encrypt({ name: "AES-GCM", iv }, await master(password, salt, 100000, "AES-GCM"), binary(jwk));
    return JSON.stringify({ iv: b64(iv), ciphertext: b64(sealed), salt, iterations: 100000 });
}

export async function openPair(blob, password, user) {
    const b = JSON.parse(blob);
    if (b.$binary) {
        const raw = unb64(b.$binary);
        return text(await subtle.decrypt({ name: "AES-CBC", iv: raw.slice(0, 16) }, await master(password, user, 1000, "AES-CBC"), raw.slice(16)));
    }
    return text(await subtle.decrypt({ name: "AES-GCM", iv: unb64(b.iv) }, await master(password, b.salt, b.iterations, "AES-GCM"), unb64(b.ciphertext)));
}

export async function makeRoomKey() {
    const key = await subtle.generateKey({ name: "AES-GCM", length: 256 }, true, ["encrypt", "decrypt"]);
    return { id: globalThis.crypto.randomUUID(), jwk: JSON.stringify(await subtle.exportKey("jwk", key)) };
}

export async function wrap(key, publicJWK) {
    const pub = await subtle.importKey("jwk", JSON.parse(publicJWK), oaep, false, ["encrypt"]);
    return key.id + b64(await subtle.encrypt({ name: "RSA-OAEP" }, pub, binary(key.jwk)));
}

export async function unwrap(wrapped, privateJWK) {
    const priv = await subtle.importKey("jwk", JSON.parse(privateJWK), oaep, false, ["decrypt"]);
    const cut = wrapped.length - 344;
    return { id: wrapped.slice(0, cut), jwk: text(await subtle.decrypt({ name: "RSA-OAEP" }, priv, unb64(wrapped.slice(cut)))) };
}

async function aes(key, use) {
    const jwk = JSON.parse(key.jwk);
    const name = { A128CBC: "AES-CBC", A256GCM: "AES-GCM" }[jwk.alg];
    return { name, key: await subtle.importKey("jwk", jwk, { name }, false, [use]) };
}

export async function sealContent(key, plain) {
    const { name, key: k } = await aes(key, "encrypt");
    if (name === "AES-CBC") return { algorithm: "rc.v1.aes-sha2", ciphertext: await sealString(key, plain) };
    const iv = random(12);
    return { algorithm: "rc.v2.aes-sha2", kid: key.id, iv: b64(iv), ciphertext: b64(await subtle.encrypt({ name, iv }, k, utf8.encode(JSON.stringify(plain)))) };
}

export async function openContent(key, content) {
    if (content.algorithm === "rc.v1.aes-sha2") return openString(key, content.ciphertext);
    if (content.kid !== key.id) throw new Error("another key");
    const { name, key: k } = await aes(key, "decrypt");
    return JSON.parse(text(await subtle.decrypt({ name, iv: unb64(content.iv) }, k, unb64(content.ciphertext))));
}

export async function sealString(key, plain) {
    const { name, key: k } = await aes(key, "encrypt");
    const iv = random(16);
    return key.id + b64(join(iv, await subtle.encrypt({ name, iv }, k, utf8.encode(JSON.stringify(plain)))));
}

export async function openString(key, sealed) {
    if (!sealed.startsWith(key.id)) throw new Error("another key");
    const { name, key: k } = await aes(key, "decrypt");
    const raw = unb64(sealed.slice(key.id.length));
    return JSON.parse(text(await subtle.decrypt({ name, iv: raw.slice(0, 16) }, k, raw.slice(16))));
}

export async function sealFile(plain) {
    const key = await subtle.generateKey({ name: "AES-CTR", length: 256 }, true, ["encrypt", "decrypt"]);
    const iv = random(16);
    const sealed = await subtle.encrypt({ name: "AES-CTR", counter: iv, length: 64 }, key, plain);
    const sum = Buffer.from(await subtle.digest("SHA-256", plain)).toString("hex");
    return { sealed: new Uint8Array(sealed), encryption: { key: await subtle.exportKey("jwk", key), iv: b64(iv) }, hashes: { sha256: sum } };
}

export async function openFile(sealed, encryption, hashes) {
    const key = await subtle.importKey("jwk", encryption.key, { name: "AES-CTR" }, false, ["decrypt"]);
    const plain = new Uint8Array(await subtle.decrypt({ name: "AES-CTR", counter: unb64(encryption.iv), length: 64 }, key, sealed));
    const sum = Buffer.from(await subtle.digest("SHA-256", plain)).toString("hex");
    if (sum !== hashes.sha256) throw new Error("another hash");
    return plain;
}
