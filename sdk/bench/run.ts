/** `npm run bench`: the figures of sse.ts in Node with TextDecoder, in Node without it, and in QuickJS. */

import { runInQuickJs, bundle } from '../test/engines.js'
import type { byteByByte, decoderSpeed, Figure, measure } from './sse.js'

interface Bench {
  measure: typeof measure
  byteByByte: typeof byteByByte
  decoderSpeed: typeof decoderSpeed
}

const MILLISECONDS = Number(process.env['BENCH_MS'] || 1000)
const code = await bundle('bench/sse.ts')

function report(engine: string, figures: Figure[], bytes: { milliseconds: number; ratio: number }, speed: object): void {
  console.log(`\n${engine}`)
  const workloads = new Map<string, Figure[]>()
  for (const figure of figures) workloads.set(figure.workload, [...(workloads.get(figure.workload) || []), figure])
  for (const [workload, all] of workloads) {
    console.log(`  ${workload}`)
    for (const { peer, value } of all.filter((figure) => figure.unit === 'events/s')) {
      const megabytes = all.find((figure) => figure.peer === peer && figure.unit === 'MB/s')?.value || 0
      console.log(`    ${peer.padEnd(36)}${Math.round(value / 1000).toString().padStart(7)}k events/s${megabytes.toFixed(1).padStart(8)} MB/s`)
    }
  }
  console.log(`  1 MiB byte by byte: ${bytes.milliseconds.toFixed(0)} ms, ${bytes.ratio.toFixed(1)} times a quarter of it`)
  console.log(`  portable decoder alone, MB/s: ${JSON.stringify(speed, (_, value) => (typeof value === 'number' ? Math.round(value) : value))}`)
}

function inNode(engine: string): void {
  // The bundle's one global is evaluated here, so that the same code runs on each engine; hence the cast.
  const bench = new Function(`${code}; return suite`)() as Bench
  const now = () => performance.now()
  report(engine, bench.measure(now, MILLISECONDS), bench.byteByByte(now), bench.decoderSpeed(now, 200))
}

inNode('Node, with TextDecoder')
const hidden = globalThis.TextDecoder
Reflect.deleteProperty(globalThis, 'TextDecoder')
inNode('Node, without TextDecoder')
globalThis.TextDecoder = hidden
const answer = await runInQuickJs(code, `JSON.stringify([
  suite.measure(now, ${MILLISECONDS}), suite.byteByByte(now), suite.decoderSpeed(now, 200)])`)
const [figures, bytes, speed] = JSON.parse(answer)
report('QuickJS (WebAssembly)', figures, bytes, speed)
