/**
 * `npm run tables [folder]`: write the table in src/graphemes.ts from the files of the Unicode Character Database
 * (Debian: package unicode-data), their version included.
 *
 * The table is coarser than the files, on one side: what is one grapheme is never taken for two. Where a difference
 * shows only in scripts that hardly an answer is written in, some letters are taken for marks, and appear together.
 */

import { readFileSync, writeFileSync } from 'node:fs'

const folder = process.argv[2] || '/usr/share/unicode'
const target = new URL('../src/graphemes.ts', import.meta.url)

/** One letter a class; Hangul syllables (LV, LVT) are arithmetic, and need none. */
const LETTERS: Record<string, string> = {
  CR: 'R', LF: 'N', Control: 'C', Extend: 'E', ZWJ: 'Z', Regional_Indicator: 'I', Prepend: 'P', SpacingMark: 'E',
  L: 'L', V: 'V', T: 'T', Extended_Pictographic: 'X',
}

const properties = readFileSync(`${folder}/auxiliary/GraphemeBreakProperty.txt`, 'utf8')
const version = /GraphemeBreakProperty-(\d+\.\d+)/.exec(properties)?.[1]
const letters = Array.from({ length: 0x110000 }, () => 'O')

for (const text of [properties, readFileSync(`${folder}/emoji/emoji-data.txt`, 'utf8')]) {
  for (const [, first, last, name] of text.matchAll(/^([0-9A-F]+)(?:\.\.([0-9A-F]+))?\s*;\s*(\w+)/gm)) {
    if (name in LETTERS) letters.fill(LETTERS[name], parseInt(first, 16), parseInt(last || first, 16) + 1)
  }
}

// Symbols beside pictographs: to take one for the other matters behind a joiner only, where none stands.
const SYMBOLS = [[0x2122, 0x2139], [0x2190, 0x2bff], [0x1f000, 0x1f1e5], [0x1f200, 0x1f3fa], [0x1f400, 0x1faff]]
for (const [first, last] of SYMBOLS) for (let at = first; at <= last; at++) if (letters[at] === 'O') letters[at] = 'X'

// The blocks of India's scripts have one plan: where one of them has a mark, most others have one as well.
const INDIC = Array.from({ length: 9 }, (_, block) => 0x900 + block * 0x80)
for (let at = 0; at < 0x70; at++) {
  if (!INDIC.some((block) => letters[block + at] === 'E')) continue
  for (const block of INDIC) if (letters[block + at] === 'O') letters[block + at] = 'E'
}

// In the historic scripts of the supplementary planes what stands between marks is taken for a mark below, and so is this.
for (let at = 0x10000; at < letters.length; at++) if (letters[at] === 'P') letters[at] = 'E'

const assigned = new Set<number>()
let firstOfRange = 0
for (const [, hex, name] of readFileSync(`${folder}/UnicodeData.txt`, 'utf8').matchAll(/^([0-9A-F]+);([^;]*)/gm)) {
  const codePoint = parseInt(hex, 16)
  if (name.endsWith('First>')) firstOfRange = codePoint
  for (let at = name.endsWith('Last>') ? firstOfRange : codePoint; at <= codePoint; at++) assigned.add(at)
}

/** Give what is between two runs their class, where `joins` says so. */
function closeGaps(joins: (first: number, last: number) => boolean): void {
  for (let first = 1, last; first < letters.length; first = last + 1) {
    last = first
    if (letters[first] !== 'O') continue
    while (letters[last + 1] === 'O') last++
    const isBetween = letters[first - 1] === letters[last + 1] && 'EX'.includes(letters[first - 1])
    if (isBetween && joins(first, last)) letters.fill(letters[first - 1], first, last + 1)
  }
}

const isUnassigned = (first: number, last: number) => !Array.from({ length: last - first + 1 }, (_, at) => assigned.has(first + at)).includes(true)
closeGaps(isUnassigned)
/**
 * Letters between marks: one or two anywhere; in scripts that hardly an answer is written in, so many as stand here.
 * Philippine; Limbu to Vedic; Syloti Nagri to Meetei Mayek; the historic ones of the supplementary planes.
 */
const RARE = [[0x1700, 0x177f, 40], [0x1880, 0x1cff, 14], [0xa800, 0xabff, 14], [0x10000, 0xdffff, 1700]]
closeGaps((first, last) => {
  const [, , most] = RARE.find(([from, to]) => first >= from && first <= to) || [0, 0, 2]
  return first > 0x2ff && last - first < most
})

/** Runs of one class, each as its letter and its length in base 36; a length of 1 is left out, and so is what is O at last. */
const table = letters.slice(0, 0xe0000).join('').replace(/O+$/, '').replace(/(.)\1*/gsu, (run) => run[0] + (run.length > 1 ? run.length.toString(36) : ''))
const lines = table.match(/.{1,110}/g) || []
const code = `const UNICODE = '${version}'\nconst RUNS =\n${lines.map((line) => `  '${line}'`).join(' +\n')}\n`
const source = readFileSync(target, 'utf8')
writeFileSync(target, source.replace(/(\/\/ <table>\n)[^]*?(\/\/ <\/table>)/, (_, open, close) => open + code + close))
