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
declare const TextDecoder: new (label: string, options: { ignoreBOM: boolean }) => StreamingTextDecoder

function createNativeDecoder(): Utf8Decoder | undefined {
  try {
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
    const decode = (bytes: Uint8Array) => decoder.decode(bytes, { stream: true })
    const end = () => decoder.decode()
    if (decode(PROBE.subarray(0, 4)) + '|' + decode(PROBE.subarray(4)) + end() === '\ufeff|\u4f60\ufffd\ufffdA') return { decode, end }
  } catch {
    // There is none, or it knows no streams.
  }
}

// Polyfills that ignore `stream`, drop the mark, or count the replacements otherwise, are found out by ten bytes.
const PROBE = new Uint8Array([0xef, 0xbb, 0xbf, 0xe4, 0xbd, 0xa0, 0xf0, 0x9f, 0xe0, 0x41])

// The arguments of one call to fromCharCode: QuickJS refuses more than 65,497, and the copy should stay in the cache.
const BLOCK = 8192

/** The bytes of a character that may go on, at the end of a text of one unit a byte. */
const UNFINISHED = /(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})$/

/**
 * A character of two, three or four bytes, or a maximal subpart of one: what becomes one U+FFFD where it is not whole.
 * The bounds are the Unicode Standard's: no overlong forms, no surrogates, nothing beyond U+10FFFF.
 */
const SEQUENCE =
  /(?!\xe0[\x80-\x9f]|\xed[\xa0-\xbf]|\xf0[\x80-\x8f]|\xf4[\x90-\xbf])(?:[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{1,2}|[\xf0-\xf4][\x80-\xbf]{1,3})|[\x80-\xff]/g

/**
 * The decoder of engines without `TextDecoder`, exported for tests.
 *
 * Bytes become a text of one unit a byte, and `decodeURIComponent(escape(text))` decodes that: it accepts exactly
 * well-formed UTF-8, and where there is no JIT, calls of native functions win by far over any loop. What it refuses is
 * taken apart.
 */
export function createPortableDecoder(): Utf8Decoder {
  let held = '' // the bytes of a character that goes on in the next chunk

  function decodeBlock(bytes: Uint8Array): string {
    // `apply` takes anything array-like; the cast is for TypeScript, which says array.
    const latin = held + String.fromCharCode.apply(null, bytes as unknown as number[])
    const unfinished = bytes[bytes.length - 1] < 0x80 ? null : UNFINISHED.exec(latin.slice(-3))
    held = unfinished ? unfinished[0] : ''
    return textOf(held ? latin.slice(0, -held.length) : latin)
  }

  return {
    decode(bytes) {
      let text = ''
      for (; bytes.length > BLOCK; bytes = bytes.subarray(BLOCK)) text += decodeBlock(bytes.subarray(0, BLOCK))
      return text + decodeBlock(bytes)
    },
    end() {
      const rest = textOf(held)
      held = ''
      return rest
    },
  }
}

function textOf(latin: string): string {
  try {
    return decodeURIComponent(escape(latin))
  } catch {
    return latin.replace(SEQUENCE, characterOf) // a URIError, or an engine without `escape`
  }
}

function characterOf(sequence: string): string {
  try {
    return decodeURIComponent(sequence.replace(/[^]/g, (byte) => '%' + byte.charCodeAt(0).toString(16)))
  } catch {
    return '\ufffd'
  }
}
