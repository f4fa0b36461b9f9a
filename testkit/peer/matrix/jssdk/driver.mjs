// matrix-js-sdk with its Rust crypto, driven over standard input and output.
//
// Each line in is one call, a JSON object {id, device, call, args, timeout}:
// device names a client of this process (made by register or login), timeout
// is in milliseconds. The call forget has no device: it ends all clients. Each line out answers one call, in any order: {id, ok:
// true, result} or {id, ok: false, error, errcode?, status?}. Calls run side
// by side. What the SDK warns of goes to standard error, all that it logs if
// QUINTA_PEER_LOG is set. The process ends when its input does.

if (!process.env.QUINTA_PEER_LOG) Error.stackTraceLimit = 2;
console.warn = console.error;
for (const level of ["log", "debug", "info", "trace"]) console[level] = process.env.QUINTA_PEER_LOG ? console.error : () => {};
await import("fake-indexeddb/auto");
const { Device } = await import("./device.mjs");
const { createInterface } = await import("node:readline");

const { IDBFactory } = await import("fake-indexeddb");

const devices = new Map();

/** Ends all clients as killing their program does, and forgets their stores. */
async function forget() {
    const all = [...devices.values()];
    devices.clear();
    await Promise.all(all.map((d) => d.client && d.stop({ save: false })));
    globalThis.indexedDB = new IDBFactory();
}

function answer(message) {
    process.stdout.write(JSON.stringify(message) + "\n");
}

/** Runs one call and answers it, at the latest when its time is over. */
async function serve({ id, device, call, args = {}, timeout = 30000 }) {
    let timer, target, fail;
    try {
        if (call === "forget") {
            await forget();
            answer({ id, ok: true, result: {} });
            return;
        }
        if (!devices.has(device)) devices.set(device, new Device(device));
        target = devices.get(device);
        if (!Device.calls.has(call)) throw new Error(`no call ${call}`);
        const late = new Promise((_, reject) => {
            timer = setTimeout(() => reject(new Error(`${call} took longer than ${timeout} ms; ${target.state()}`)), timeout);
        });
        const killed = new Promise((_, reject) => (fail = reject));
        if (call !== "stop") target.calls.add(fail);
        const result = await Promise.race([target[call](args), late, killed]);
        answer({ id, ok: true, result: result ?? {} });
    } catch (e) {
        const cause = e?.cause?.message ? `: ${e.cause.message}` : "";
        answer({ id, ok: false, error: String(e?.message ?? e) + cause, errcode: e?.errcode, status: e?.httpStatus });
    } finally {
        clearTimeout(timer);
        target?.calls.delete(fail);
    }
}

// A client that loses its server throws from its own loops too; that is for
// the log, and for the calls that wait for what then does not come.
process.on("unhandledRejection", (e) => console.error("unhandled rejection:", e));

for await (const line of createInterface({ input: process.stdin })) {
    let message;
    try {
        message = JSON.parse(line);
    } catch (e) {
        answer({ id: 0, ok: false, error: `not a call: ${e.message}` });
        continue;
    }
    void serve(message);
}
process.exit(0);
