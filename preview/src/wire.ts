/** What the page and the preview's server say to each other about exchanges. Bytes come as binary: the id (4 bytes), then they. */

import type { Call, Head } from '../../sdk/emulator/line.js'

export type ToServer = { id: number; kind: 'open'; call: Call & { isBase64: boolean } } | { id: number; kind: 'close' | 'pause' | 'resume' }

export type FromServer =
  { id: number; kind: 'head'; head: Head } | { id: number; kind: 'end'; isComplete: boolean } | { id: number; kind: 'fail'; reason: string }
