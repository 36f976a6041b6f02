/**
 * `npm run tables [folder]`: write the table in src/graphemes.ts from the files of the Unicode Character Database
 * (Debian: package unicode-data), their version included.
 */

import { readFileSync, writeFileSync } from 'node:fs'

const folder = process.argv[2] || '/usr/share/unicode'
const target = new URL('../src/graphemes.ts', import.meta.url)

/** One letter a class; Hangul syllables (LV, LVT) are arithmetic, and need none. */
const LETTERS: Record<string, string> = {
  CR: 'R', LF: 'N', Control: 'C', Extend: 'E', ZWJ: 'Z', Regional_Indicator: 'I', Prepend: 'P', SpacingMark: 'S',
  L: 'L', V: 'V', T: 'T', Extended_Pictographic: 'X',
}

const properties = readFileSync(`${folder}/auxiliary/GraphemeBreakProperty.txt`, 'utf8')
const version = /GraphemeBreakProperty-(\d+\.\d+)/.exec(properties)?.[1]
const letters = new Array<string>(0x110000).fill('O')

for (const text of [properties, readFileSync(`${folder}/emoji/emoji-data.txt`, 'utf8')]) {
  for (const [, first, last, name] of text.matchAll(/^([0-9A-F]+)(?:\.\.([0-9A-F]+))?\s*;\s*(\w+)/gm)) {
    if (name in LETTERS) letters.fill(LETTERS[name], parseInt(first, 16), parseInt(last || first, 16) + 1)
  }
}

/** Runs of one class, each as its letter and its length in base 36; a length of 1 is left out. */
const table = letters.join('').replace(/(.)\1*/gsu, (run) => run[0] + (run.length > 1 ? run.length.toString(36) : ''))
const lines = table.match(/.{1,110}/g) || []
const code = `const UNICODE = '${version}'\nconst RUNS =\n${lines.map((line) => `  '${line}'`).join(' +\n')}\n`
const source = readFileSync(target, 'utf8')
writeFileSync(target, source.replace(/(\/\/ <table>\n)[^]*?(\/\/ <\/table>)/, (_, open, close) => open + code + close))
