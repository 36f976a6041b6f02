/** A phone to test on: `wx` with a network that behaves like the real thing. For tests, in Node; see emulator.ts. */

import { createEmulatorOn, type Emulator, type EmulatorOptions } from './emulator.js'
import { nodeWire } from './node.js'

export type { Emulator, EmulatorClock, EmulatorOptions } from './emulator.js'
export { PROFILES, type Profile, type ProfileName } from './profiles.js'

/** A phone whose requests go over Node's HTTP. `createEmulatorOn` of emulator.ts takes another wire, as a browser's. */
export function createEmulator(options: EmulatorOptions = {}): Emulator {
  return createEmulatorOn(nodeWire, options)
}
