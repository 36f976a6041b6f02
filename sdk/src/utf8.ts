/**
 * UTF-8 bytes to text, incrementally, on any ECMAScript engine.
 *
 * Laws:
 * - any chunking of the same bytes gives the same text, character by character as soon as it is whole;
 * - bytes that are not UTF-8 become U+FFFD, one for each maximal subpart, exactly as the Encoding Standard says;
 * - a byte order mark is kept: whose it is, only the format above knows;
 * - nothing of a chunk is kept after `decode` returns, so the caller may reuse its buffer.
 */

export interface Utf8Decoder {
  /** Take the next bytes and return the text that they complete. */
  decode(bytes: Uint8Array): string
  /** Say that no more bytes come: an unfinished character becomes one U+FFFD. The decoder is as new afterwards. */
  end(): string
}

/** Make a decoder: the platform's, where it has one that is right, else our own. */
export function createUtf8Decoder(): Utf8Decoder {
  return createNativeDecoder() || createPortableDecoder()
}

interface StreamingTextDecoder {
  decode(bytes?: Uint8Array, options?: { stream: boolean }): string
}

// Declared here and not by the DOM's types, since phones do not have it.
declare const TextDecoder: (new (label: string, options: { ignoreBOM: boolean }) => StreamingTextDecoder) | undefined

function createNativeDecoder(): Utf8Decoder | undefined {
  if (typeof TextDecoder !== 'function' || !decodesStreams(new TextDecoder('utf-8', { ignoreBOM: true }))) return
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  return {
    decode: (bytes) => decoder.decode(bytes, { stream: true }),
    end: () => decoder.decode(),
  }
}

/** Polyfills that ignore `stream`, drop the mark, or count the replacements otherwise, are found out by ten bytes. */
function decodesStreams(decoder: StreamingTextDecoder): boolean {
  try {
    const head = decoder.decode(new Uint8Array([0xef, 0xbb, 0xbf, 0xe4]), { stream: true })
    const tail = decoder.decode(new Uint8Array([0xbd, 0xa0, 0xf0, 0x9f, 0xe0, 0x41]), { stream: true })
    return head + '|' + tail === '\ufeff|\u4f60\ufffd\ufffdA'
  } catch {
    return false
  }
}

// The arguments of one call to fromCharCode: QuickJS refuses more than 65,497, and the copy should stay in the cache.
const BLOCK = 8192

// Below this the calls of native functions cost more than a loop over the bytes.
const SHORT = 64

const SHORTEST_WINDOW = 16
const LONGEST_WINDOW = 2048

// From how many bytes on `decodeURIComponent(escape())` beats the loop: where there is no JIT, early, by up to five
// times; under V8's, never. V8 is told by the form of its stacks; to be wrong here costs time, nothing else.
const LONG = /^Error\n {4}at /.test(String(new Error().stack)) ? Infinity : 128

const NOT_ASCII = /[\x80-\xff]/g

/**
 * The decoder of engines without `TextDecoder`, exported for tests.
 *
 * ASCII is found and copied by native string functions. The rest is cut into windows, which grow while little ASCII is
 * between them, and the long ones are decoded by `decodeURIComponent(escape(window))`, which accepts exactly well-formed
 * UTF-8. What it refuses, and what is short or cut, goes through the state machine of the Encoding Standard.
 */
export function createPortableDecoder(): Utf8Decoder {
  const machine = createStateMachine()

  function decodeBlock(bytes: Uint8Array): string {
    if (bytes.length < SHORT) return machine.decode(bytes, 0, bytes.length)
    const latin = latinOf(bytes)
    let text = ''
    let window = SHORTEST_WINDOW
    let at = 0
    while (at < bytes.length) {
      if (machine.isInCharacter()) {
        text += machine.decode(bytes, at, ++at)
        continue
      }
      const start = nextNotAscii(latin, at)
      text += latin.slice(at, start)
      window = start - at < SHORTEST_WINDOW ? Math.min(2 * window, LONGEST_WINDOW) : SHORTEST_WINDOW
      at = characterEnd(bytes, Math.min(start + window, bytes.length))
      text += decodeWindow(bytes, latin, start, at)
    }
    return text
  }

  function decodeWindow(bytes: Uint8Array, latin: string, start: number, end: number): string {
    const whole = end - unfinishedBytes(bytes, end)
    if (whole - start >= LONG) {
      try {
        return decodeURIComponent(escape(latin.slice(start, whole))) + machine.decode(bytes, whole, end)
      } catch {
        // URIError: not well-formed somewhere
      }
    }
    return machine.decode(bytes, start, end)
  }

  return {
    decode(bytes) {
      let text = ''
      for (let at = 0; at < bytes.length; at += BLOCK) text += decodeBlock(bytes.subarray(at, at + BLOCK))
      return text
    },
    end: machine.end,
  }
}

/** One character a byte, so that positions in the text are positions in the bytes. */
function latinOf(bytes: Uint8Array): string {
  // `apply` takes anything array-like; the cast is for TypeScript, which says array.
  return String.fromCharCode.apply(null, bytes as unknown as number[])
}

function nextNotAscii(latin: string, from: number): number {
  NOT_ASCII.lastIndex = from
  return NOT_ASCII.test(latin) ? NOT_ASCII.lastIndex - 1 : latin.length
}

/** Move an end that is inside a character behind it. */
function characterEnd(bytes: Uint8Array, end: number): number {
  while (end < bytes.length && (bytes[end] & 0xc0) === 0x80) end++
  return end
}

/** How many of the last bytes belong to a character that goes on behind them. */
function unfinishedBytes(bytes: Uint8Array, end: number): number {
  for (let count = 1; count <= 3 && count <= end; count++) {
    const byte = bytes[end - count]
    if (byte < 0x80) return 0
    if (byte >= 0xc0) return (byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4) > count ? count : 0
  }
  return 0
}

/** The "UTF-8 decoder" of the Encoding Standard, section 8.1.1, with its names. */
function createStateMachine() {
  let needed = 0 // "bytes needed" less "bytes seen"
  let codePoint = 0
  let lower = 0x80
  let upper = 0xbf

  function decode(bytes: Uint8Array, start: number, end: number): string {
    const units: number[] = []
    for (let at = start; at < end; at++) {
      if (!needed) at = pushPlain(bytes, at, end, units)
      if (at < end) take(bytes[at], units)
    }
    return String.fromCharCode.apply(null, units)
  }

  function take(byte: number, units: number[]): void {
    if (needed && (byte < lower || byte > upper)) {
      units.push(0xfffd)
      needed = 0
    }
    if (!needed) return begin(byte, units)
    lower = 0x80
    upper = 0xbf
    codePoint = (codePoint << 6) | (byte & 0x3f)
    if (--needed) return
    if (codePoint > 0xffff) units.push(0xd7c0 + (codePoint >> 10), 0xdc00 | (codePoint & 0x3ff))
    else units.push(codePoint)
  }

  function begin(byte: number, units: number[]): void {
    if (byte < 0x80 || byte < 0xc2 || byte > 0xf4) {
      units.push(byte < 0x80 ? byte : 0xfffd)
      return
    }
    needed = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3
    codePoint = byte & (0x3f >> needed)
    // No overlong forms, no surrogates, nothing beyond U+10FFFF: they show in the second byte.
    lower = byte === 0xe0 ? 0xa0 : byte === 0xf0 ? 0x90 : 0x80
    upper = byte === 0xed ? 0x9f : byte === 0xf4 ? 0x8f : 0xbf
  }

  return {
    decode,
    isInCharacter: () => needed > 0,
    end() {
      const rest = needed ? '\ufffd' : ''
      needed = 0
      return rest
    },
  }
}

/** Nearly all text is ASCII and whole three-byte characters. Answers where something else begins. */
function pushPlain(bytes: Uint8Array, at: number, end: number, units: number[]): number {
  for (; at < end; at++) {
    const first = bytes[at]
    if (first < 0x80) {
      units.push(first)
      continue
    }
    // Not E0 and ED, whose second byte has other bounds.
    if (first < 0xe1 || first > 0xef || first === 0xed || at + 2 >= end) break
    const second = bytes[at + 1] ^ 0x80
    const third = bytes[at + 2] ^ 0x80
    if ((second | third) > 0x3f) break
    units.push(((first & 0x0f) << 12) | (second << 6) | third)
    at += 2
  }
  return at
}
