/**
 * The npm package nodejs-order-book on Holdfast's wire protocol, version 1 (docs/protocol.md).
 *
 * One OrderBook per market, with the package's journal on. A submit is answered after its journal lines are synced to
 * the disk; recovery is the one that the package documents (README, "Snapshot" and "Journal Logs"): a new OrderBook
 * from the last snapshot and all logs. Nothing that the package does or reports is corrected here.
 *
 * In the data directory:
 *   setup.json      the setup of the last reset
 *   journal.jsonl   a line for each command that took effect: {market, log, events}, the package's log or null
 *   snapshot.json   the package's snapshot of each market
 */

import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import process from 'node:process'
import { OrderBook } from 'nodejs-order-book'

const PROTOCOL = 1
const LINE_BYTES_MAX = 16 * 1024 * 1024
const LINE_FEED = 0x0a
const MESSAGE_CHARACTERS = 2000

const MANIFEST = JSON.parse(fs.readFileSync(new URL('./adapter.json', import.meta.url), 'utf8'))
const VERSION = createRequire(import.meta.url)('nodejs-order-book/package.json').version

/** What the package's error codes mean (its errors.ts). */
const REASONS = {
  1102: 'size_not_positive',
  1103: 'price_not_positive',
  1106: 'fok_unfillable',
  1107: 'post_only_would_take',
  1109: 'duplicate_order',
  1110: 'order_not_open',
  1200: 'size_not_positive', // of a market order
}
const STP_TRIGGERED = 1202
const STP_MODES = { cancel_newest: 'EXPIRE_TAKER', cancel_oldest: 'EXPIRE_MAKER', cancel_both: 'EXPIRE_BOTH' }
const PLACE_DEFAULTS = { price_ticks: null, time_in_force: 'gtc', post_only: false, self_trade: 'cancel_newest' }
const TIMES_IN_FORCE = { gtc: 'GTC', ioc: 'IOC', fok: 'FOK' }

/** An order's id in the package; no client or order id has a bar, so that no two can collide. */
const keyOf = (client, order) => `${client}|${order}`
const clientOf = (key) => key.slice(0, key.indexOf('|'))
const orderOf = (key) => key.slice(key.indexOf('|') + 1)

/** Files of the data directory. What `append` and `replace` return from survives the process. */
class Storage {
  #directory
  #journal = null

  constructor(directory) {
    this.#directory = directory
    fs.mkdirSync(directory, { recursive: true })
  }

  /** The value of a JSON file, or null where there is none. */
  read(name) {
    const file = path.join(this.#directory, name)
    return fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : null
  }

  /** Replace a JSON file: after a crash the old or the new one is there, whole. */
  replace(name, value) {
    const temporary = path.join(this.#directory, `${name}.tmp`)
    const descriptor = fs.openSync(temporary, 'w')
    writeAndSync(descriptor, JSON.stringify(value))
    fs.closeSync(descriptor)
    fs.renameSync(temporary, path.join(this.#directory, name))
    this.#syncDirectory()
  }

  /** Add lines to the journal. */
  append(lines) {
    if (this.#journal === null) {
      this.#journal = fs.openSync(path.join(this.#directory, 'journal.jsonl'), 'a')
      this.#syncDirectory()
    }
    writeAndSync(this.#journal, lines.map((line) => `${line}\n`).join(''))
  }

  /** The whole lines of the journal, parsed; a torn last one was never acknowledged and is cut off. */
  lines() {
    const file = path.join(this.#directory, 'journal.jsonl')
    if (!fs.existsSync(file)) return []
    const data = fs.readFileSync(file)
    const whole = data.lastIndexOf(LINE_FEED) + 1
    if (whole < data.length) fs.truncateSync(file, whole)
    const text = data.toString('utf8', 0, whole)
    return text.split('\n').slice(0, -1).map((line, index) => {
      try {
        return JSON.parse(line)
      } catch (error) {
        throw new Error(`journal.jsonl line ${index + 1}: ${error.message}`)
      }
    })
  }

  /** Forget everything. */
  clear() {
    if (this.#journal !== null) fs.closeSync(this.#journal)
    this.#journal = null
    for (const name of ['journal.jsonl', 'snapshot.json', 'setup.json']) {
      fs.rmSync(path.join(this.#directory, name), { force: true })
      fs.rmSync(path.join(this.#directory, `${name}.tmp`), { force: true })
    }
    this.#syncDirectory()
  }

  #syncDirectory() {
    const descriptor = fs.openSync(this.#directory, 'r')
    fs.fsyncSync(descriptor)
    fs.closeSync(descriptor)
  }
}

function writeAndSync(descriptor, text) {
  const data = Buffer.from(text, 'utf8')
  let written = 0
  while (written < data.length) written += fs.writeSync(descriptor, data, written)
  fs.fsyncSync(descriptor)
}

/** The markets of a setup, and what a client of the package has to remember of its orders. */
class Venue {
  #storage
  #clients
  #books = new Map()
  /** By key, for ever: an order's market, side, total size, and how much of it was told to be filled. */
  #orders = new Map()
  #trades = 0
  #seq = 0
  #unwritten = []

  /** A venue as the storage has it; it is empty right after a reset. */
  constructor(storage) {
    this.#storage = storage
    const setup = storage.read('setup.json')
    const snapshots = storage.read('snapshot.json') ?? {}
    const logs = new Map(setup.markets.map(({ market }) => [market, []]))
    for (const line of storage.lines()) {
      if (line.log !== null) logs.get(line.market).push(line.log)
      this.#remember(line.events)
    }
    this.#clients = new Set(setup.clients)
    for (const [market, journal] of logs) {
      const recovered = Object.hasOwn(snapshots, market) ? { snapshot: snapshots[market], journal } : { journal }
      this.#books.set(market, new OrderBook({ ...recovered, enableJournaling: true }))
    }
  }

  /** Answer commands that arrived together, once all that they did is on the disk. */
  submit(commands) {
    const answers = commands.map((command) => ({ events: this.#apply(command), seq: null, journal_sha256: null }))
    if (this.#unwritten.length > 0) this.#storage.append(this.#unwritten)
    this.#unwritten = []
    return answers
  }

  snapshot() {
    const snapshots = Object.fromEntries([...this.#books].map(([market, book]) => [market, book.snapshot()]))
    this.#storage.replace('snapshot.json', snapshots)
  }

  view() {
    const orders = []
    for (const market of [...this.#books.keys()].sort()) {
      const { bids, asks } = this.#books.get(market).snapshot()
      for (const level of [...bids, ...asks]) {
        for (const order of level.orders) {
          orders.push({
            client: clientOf(order.id),
            order: orderOf(order.id),
            market,
            side: order.side,
            price_ticks: String(order.price),
            size_lots: String(this.#orders.get(order.id)?.size ?? order.origSize),
            left_lots: String(order.size),
          })
        }
      }
    }
    return {
      seq: this.#seq,
      phase: 'open',
      epoch: 1,
      orders,
      balances: [],
      withdrawals: [],
      custody: [],
      replicas: [],
      journal_sha256: null,
      ingress_depth_max: 0,
    }
  }

  #apply(command) {
    switch (command.type) {
      case 'place_order':
        return this.#place({ ...PLACE_DEFAULTS, ...command })
      case 'cancel_order':
        return this.#cancel(command)
      case 'amend_order':
        return this.#amend(command)
      default:
        return rejected('other', `${command.type} is not among the capabilities`)
    }
  }

  #place(command) {
    const { client, order, market, side } = command
    if (!this.#clients.has(client)) return rejected('unknown_client')
    if (!this.#books.has(market)) return rejected('unknown_market')
    const size = integer(command.size_lots)
    const atMarket = command.price_ticks === null
    const price = atMarket ? null : integer(command.price_ticks)
    if (size === undefined || price === undefined) return rejected('other', 'not an exact JavaScript number')
    if (!(command.self_trade in STP_MODES)) return rejected('other', `self_trade ${command.self_trade}`)
    if (atMarket && command.post_only) return rejected('market_order_cannot_rest')
    if (atMarket && command.time_in_force === 'fok') return rejected('other', 'a market order has no FOK')
    const key = keyOf(client, order)
    if (this.#orders.has(key)) {
      if (size <= 0) return rejected('size_not_positive')
      if (!atMarket && price <= 0) return rejected('price_not_positive')
      return rejected('duplicate_order')
    }

    const book = this.#books.get(market)
    const stpMode = STP_MODES[command.self_trade]
    const timeInForce = TIMES_IN_FORCE[command.time_in_force]
    const result = atMarket
      ? book.market({ side, size, accountId: client, stpMode })
      : book.limit({ id: key, side, size, price, timeInForce, postOnly: command.post_only, accountId: client, stpMode })
    const code = result.err?.code
    const nothingDone = result.done.length === 0 && result.stpExpired === undefined
    if (result.err !== null && (code !== STP_TRIGGERED || (command.time_in_force === 'fok' && nothingDone))) {
      return this.#told(market, result.log, refusal(result.err))
    }

    const accepted = {
      type: 'order_accepted',
      client,
      order,
      market,
      side,
      size_lots: String(size),
      price_ticks: atMarket ? null : String(price),
      time_in_force: command.time_in_force,
      post_only: command.post_only,
      self_trade: command.self_trade,
    }
    const taker = { key, market, side, size, remainder: atMarket ? 'market_remainder' : 'ioc_remainder' }
    return this.#told(market, result.log, [accepted, ...this.#executed(taker, result)])
  }

  #cancel({ client, order }) {
    if (!this.#clients.has(client)) return rejected('unknown_client')
    const key = keyOf(client, order)
    const known = this.#orders.get(key)
    if (known === undefined) return rejected('unknown_order')
    const removed = this.#books.get(known.market).cancel(key)
    if (removed === undefined) return rejected('order_not_open')
    return this.#told(known.market, removed.log, [cancelled(key, removed.order.size, 'requested')])
  }

  #amend({ client, order, size_lots, price_ticks }) {
    if (!this.#clients.has(client)) return rejected('unknown_client')
    const size = integer(size_lots)
    const price = integer(price_ticks)
    if (size === undefined || price === undefined) return rejected('other', 'not an exact JavaScript number')
    if (size <= 0) return rejected('size_not_positive')
    if (price <= 0) return rejected('price_not_positive')
    const key = keyOf(client, order)
    const known = this.#orders.get(key)
    if (known === undefined) return rejected('unknown_order')
    const book = this.#books.get(known.market)
    if (book.order(key) === undefined) return rejected('order_not_open')
    // The package's size is what shall be left; the protocol's is the total, the filled part included.
    const left = size - known.filled
    if (left <= 0) return rejected('size_not_above_filled')
    const result = book.modify(key, { size: left, price })
    if (result.err !== null && result.err.code !== STP_TRIGGERED) {
      return this.#told(known.market, result.log, refusal(result.err))
    }
    const amended = {
      type: 'order_amended',
      client,
      order,
      size_lots: String(size),
      price_ticks: String(price),
      left_lots: String(left),
      priority_kept: false,
    }
    const taker = { key, market: known.market, side: known.side, size: left, remainder: 'ioc_remainder' }
    return this.#told(known.market, result.log, [amended, ...this.#executed(taker, result)])
  }

  /** The events of an order that came in, or came in again, as the package's result has them. */
  #executed({ key, market, side, size, remainder }, result) {
    const makers = result.done.filter((order) => order.id !== key)
    const fills = makers.map((maker) => ({ maker, lots: maker.size, whole: true }))
    if (result.partial !== null && result.partial.id !== key) {
      fills.push({ maker: result.partial, lots: result.partialQuantityProcessed, whole: false })
    }
    const filled = fills.reduce((sum, { lots }) => sum + lots, 0)
    const expired = [...(result.stpExpired ?? [])]
    const events = []
    const expire = (order) => events.push(cancelled(order.id, order.size, 'self_trade'))
    let trade = this.#trades
    for (const { maker, lots, whole } of fills) {
      // With EXPIRE_BOTH the expiry ended the taker, so that it is the last thing that happened.
      const before = (order) => (side === 'buy' ? order.price <= maker.price : order.price >= maker.price)
      while (result.err === null && expired.length > 0 && before(expired[0])) expire(expired.shift())
      trade += 1
      events.push({
        type: 'trade_executed',
        trade,
        market,
        price_ticks: String(maker.price),
        size_lots: String(lots),
        taker_side: side,
        maker_client: clientOf(maker.id),
        maker_order: orderOf(maker.id),
        taker_client: clientOf(key),
        taker_order: orderOf(key),
        maker_fee: '0',
        taker_fee: '0',
      })
      if (whole) events.push(named('order_filled', maker.id))
    }
    expired.forEach(expire)

    const resting = this.#books.get(market).order(key)
    if (resting !== undefined) {
      events.push({
        ...named('order_rested', key),
        price_ticks: String(resting.price),
        left_lots: String(resting.size),
      })
    } else if (result.err !== null) {
      events.push(cancelled(key, result.quantityLeft, 'self_trade'))
    } else if (filled >= size) {
      events.push(named('order_filled', key))
    } else {
      events.push(cancelled(key, result.quantityLeft, remainder))
    }
    return events
  }

  /** Keep what a command did, to be written before it is answered. The log is made text at once: it is still in use. */
  #told(market, log, events) {
    const refused = events[0].type === 'rejected'
    if (refused && log === undefined) return events
    this.#unwritten.push(JSON.stringify({ market, log: log ?? null, events }))
    this.#remember(events)
    return events
  }

  #remember(events) {
    this.#seq += 1
    for (const event of events) {
      const key = keyOf(event.client, event.order)
      switch (event.type) {
        case 'order_accepted':
          this.#orders.set(key, { market: event.market, side: event.side, size: Number(event.size_lots), filled: 0 })
          break
        case 'order_amended':
          this.#orders.get(key).size = Number(event.size_lots)
          break
        case 'trade_executed':
          this.#trades = event.trade
          for (const party of [
            keyOf(event.maker_client, event.maker_order),
            keyOf(event.taker_client, event.taker_order),
          ]) {
            const order = this.#orders.get(party)
            if (order !== undefined) order.filled += Number(event.size_lots)
          }
          break
      }
    }
  }
}

const named = (type, key) => ({ type, client: clientOf(key), order: orderOf(key) })
const cancelled = (key, left, reason) => ({ ...named('order_cancelled', key), left_lots: String(left), reason })
const rejected = (reason, detail = '') => [{ type: 'rejected', reason, detail }]
const refusal = (error) => rejected(REASONS[error.code] ?? 'other', `${error.code}: ${error.message}`)

/** The integer of a decimal string, or undefined when a JavaScript number cannot hold it exactly. */
function integer(text) {
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : undefined
}

/** The reply to a request, without its id. What the package throws (not always an Error) is told to the harness. */
class Engine {
  #storage
  #venue

  constructor(storage) {
    this.#storage = storage
    this.#venue = storage.read('setup.json') === null ? null : new Venue(storage)
  }

  reply(request) {
    if (request.type === 'hello') return this.#hello(request)
    if (request.type === 'reset') {
      this.#venue = null
      this.#storage.clear()
      this.#storage.replace('setup.json', request.setup)
      this.#venue = new Venue(this.#storage)
      return { type: 'done' }
    }
    if (request.type === 'shutdown') return { type: 'done' }
    if (this.#venue === null) return failed('reset comes first: there is no setup yet')
    switch (request.type) {
      case 'submit':
        return { type: 'submit_reply', answers: this.#venue.submit(request.commands) }
      case 'observe':
        return { type: 'observe_reply', view: this.#venue.view(), resent: [] }
      case 'snapshot':
        this.#venue.snapshot()
        return { type: 'done' }
      case 'restore':
        this.#venue = new Venue(this.#storage)
        return { type: 'done' }
      default:
        return failed(`there is no request ${request.type} in protocol ${PROTOCOL}`)
    }
  }

  #hello({ protocol }) {
    if (protocol !== PROTOCOL) return failed(`protocol ${protocol} asked, ${PROTOCOL} spoken`)
    const { name, capabilities, conventions } = MANIFEST
    return { type: 'hello_reply', protocol, engine: name, version: VERSION, capabilities, conventions }
  }
}

const failed = (message) => ({ type: 'failed', message: message.slice(0, MESSAGE_CHARACTERS) })
const words = (error) => String(error?.message ?? error)

function fail(message) {
  fs.writeSync(process.stderr.fd, `nodejs-order-book shim: ${message}\n`)
  process.exit(2)
}

/** Whole lines of standard input, as text. */
async function* requests() {
  let parts = []
  let bytes = 0
  for await (const chunk of process.stdin) {
    let start = 0
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      parts.push(chunk.subarray(start, end))
      yield Buffer.concat(parts).toString('utf8')
      parts = []
      bytes = 0
      start = end + 1
    }
    parts.push(chunk.subarray(start))
    bytes += chunk.length - start
    if (bytes > LINE_BYTES_MAX) fail(`a request of more than ${LINE_BYTES_MAX} bytes`)
  }
}

async function main() {
  const directory = process.env.HOLDFAST_DATA_DIR
  if (!directory) fail('HOLDFAST_DATA_DIR names no directory')
  process.stdout.on('error', () => process.exit(0)) // who asked is gone
  let engine = null
  for await (const line of requests()) {
    let request
    try {
      request = JSON.parse(line)
    } catch (error) {
      fail(`a request that is not JSON: ${words(error)}`)
    }
    let reply
    try {
      engine ??= new Engine(new Storage(directory))
      reply = engine.reply(request)
    } catch (error) {
      reply = failed(`${request.type}: ${words(error)}`)
    }
    process.stdout.write(`${JSON.stringify({ ...reply, id: request.id })}\n`)
    if (request.type === 'shutdown') break
  }
}

await main()
