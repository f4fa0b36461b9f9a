// A client of another make, mtcute, as a peer of a test: it logs in with a code,
// looks for a user and asks for a secret chat. It reads a task in JSON from its
// standard input and writes what it got, in JSON.
import { readFileSync } from 'node:fs'
import { connectWs } from '@fuman/net'
import { IntermediatePacketCodec, MemoryStorage, ObfuscatedPacketCodec, PaddedIntermediatePacketCodec } from '@mtcute/core'
import { addPublicKey } from '@mtcute/core/utils.js'
import { BaseTelegramClient, TcpTransport } from '@mtcute/node'
import { NodeCryptoProvider } from '@mtcute/node/utils.js'

const task = JSON.parse(readFileSync(0, 'utf8'))

// The transports: that of the library, and its obfuscation over a websocket.
const transports = {
  tcp: () => new TcpTransport(),
  padded: () => ({ connect: (dc) => new TcpTransport().connect(dc), packetCodec: () => new PaddedIntermediatePacketCodec() }),
  obfuscated: () => ({ connect: (dc) => new TcpTransport().connect(dc), packetCodec: () => new ObfuscatedPacketCodec(new IntermediatePacketCodec()) }),
  websocket: () => ({
    connect: (dc) => connectWs({ url: `ws://${dc.ipAddress}:${dc.port}/apiws`, protocols: 'binary' }),
    packetCodec: () => new ObfuscatedPacketCodec(new IntermediatePacketCodec()),
  }),
}

const crypto = new NodeCryptoProvider()
await crypto.initialize()
addPublicKey(crypto, task.Key)
const colon = task.Addr.lastIndexOf(':')
const dc = { id: 2, ipAddress: task.Addr.slice(0, colon), port: Number(task.Addr.slice(colon + 1)) }
const client = new BaseTelegramClient({
  apiId: 1,
  apiHash: 'hash',
  storage: new MemoryStorage(),
  transport: transports[task.Transport](),
  defaultDcs: { main: dc, media: dc },
  disableUpdates: true,
  network: { usePfs: task.Temporary },
  logLevel: 0,
})

// refusal makes a call that is to be refused.
async function refusal(request) {
  try {
    await client.call(request)
  } catch (e) {
    return String(e.text ?? e.message)
  }
  throw new Error(`${request._} is not refused`)
}

try {
  await client.connect()
  const config = await client.call({ _: 'help.getConfig' })
  const sent = await client.call({ _: 'auth.sendCode', phoneNumber: task.Number, apiId: 1, apiHash: 'hash', settings: { _: 'codeSettings' } })
  const sign = { _: 'auth.signIn', phoneNumber: task.Number, phoneCodeHash: sent.phoneCodeHash }
  const wrong = await refusal({ ...sign, phoneCode: 'wrong' })
  const login = await client.call({ ...sign, phoneCode: task.Code })
  const state = await client.call({ _: 'updates.getState' })
  const dh = await client.call({ _: 'messages.getDhConfig', version: 0, randomLength: 256 })
  const found = await client.call({ _: 'contacts.resolveUsername', username: task.Peer })
  const peer = found.users[0]
  const chat = await client.call({ _: 'messages.requestEncryption', userId: { _: 'inputUser', userId: peer.id, accessHash: peer.accessHash }, randomId: task.Chat, gA: Buffer.from(task.GA, 'base64') })
  const unknown = await refusal({ _: 'help.getNearestDc' })
  await client.call({ _: 'auth.logOut' })
  console.log(JSON.stringify({ user: login.user.id, dc: config.thisDc, qts: state.qts, peer: peer.id, chat: chat.id, kind: chat._, wrong, unknown, p: Buffer.from(dh.p).toString('hex'), random: dh.random.length }))
} catch (e) {
  console.error(e)
  process.exitCode = 1
}
await client.destroy()
process.exit() // else the timer for the next temporary key keeps it running
