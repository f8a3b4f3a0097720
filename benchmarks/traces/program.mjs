// The same as program.py, in JavaScript: node program.mjs SHAPE SEED SECONDS [PACE]. It ends by itself.

const KIB = 1024, MIB = 1024 * KIB
const [shape, seed, seconds, pace = '1'] = process.argv.slice(2)
const end = performance.now() + Math.min(Number(seconds), 3600) * 1000

// mulberry32: Math.random cannot be seeded
let state = [...`${shape} ${seed}`].reduce((sum, char) => (Math.imul(sum, 31) + char.charCodeAt(0)) | 0, 7)
function random() {
  state = (state + 0x6d2b79f5) | 0
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
}
const between = (low, high) => low + (high - low) * random()
const exponential = (mean) => -Math.log(1 - random()) * mean
const lognormal = (mean, sigma) =>
  Math.exp(mean + sigma * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()))

// small objects of about `size` bytes together, parsed as an answer of a server would be
const text = 'abcdefghijklmnopqrstuvwxyz0123456789'.repeat(12)
function records(size) {
  const count = Math.ceil(size / 640)
  return JSON.parse(JSON.stringify(Array.from({ length: count }, (_, index) => ({ index, at: random(), text: index + text }))))
}

function rest(seconds) {
  seconds *= Number(pace)
  const left = end - performance.now()
  return new Promise((done) => {
    if (seconds * 1000 >= left) setTimeout(() => process.exit(0), Math.max(0, left))
    else setTimeout(done, seconds * 1000)
  })
}

const shapes = {
  async line() {
    const kept = [], rate = between(110, 190) * KIB
    for (;;) {
      kept.push(records(rate * between(0.7, 1.3)))
      await rest(1)
    }
  },
  async stairs() {
    const kept = []
    for (;;) {
      await rest(between(18, 34))
      kept.push(records(between(2.5, 5.5) * MIB))
    }
  },
  // garbage that lives for some seconds, so that it grows old before it is collected
  async teeth() {
    const kept = [], rate = between(90, 150) * KIB, young = []
    for (;;) {
      young.push(records(between(0.8, 2.4) * MIB))
      if (young.length > 6) young.splice(0, 3)
      kept.push(records(rate))
      await rest(1)
    }
  },
  async bursts() {
    const kept = []
    for (;;) {
      await rest(exponential(7))
      kept.push(records(exponential(MIB) + 64 * KIB))
    }
  },
  async plateau() {
    const kept = [records(between(25, 40) * MIB)]
    for (;;) {
      records(between(50, 400) * KIB)
      await rest(1)
    }
  },
  async periodic() {
    const period = between(40, 75)
    for (;;) {
      let work = []
      const began = performance.now()
      while (performance.now() - began < period * 600 * Number(pace)) {
        work.push(records(between(0.5, 0.8) * MIB))
        await rest(1)
      }
      work = []
      await rest(period * 0.4)
    }
  },
  async noisy() {
    let work
    for (;;) {
      work = Buffer.alloc(Math.ceil(lognormal(2, 0.6) * MIB), 'noise')
      await rest(between(0.5, 1.5))
    }
  },
  async warmup() {
    const cache = [], most = between(100, 170)
    for (;;) {
      cache.push(records(between(150, 300) * KIB))
      if (cache.length > most) cache.shift()
      await rest(1)
    }
  },
  async collected() {
    const young = []
    for (;;) {
      young.push(records(between(0.8, 2.4) * MIB))
      if (young.length > 6) young.splice(0, 3)
      await rest(1)
    }
  },
}

const run = shapes[shape] ?? process.exit(1)
process.stdout.write('\n')
await run()
