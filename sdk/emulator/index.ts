/** A phone to test on: `wx` with a network that behaves like the real thing. For tests, in Node; see emulator.ts. */

export { createEmulator, type Emulator, type EmulatorClock, type EmulatorOptions } from './emulator.js'
export { PROFILES, type Profile, type ProfileName } from './profiles.js'
