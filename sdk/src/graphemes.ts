/**
 * Where characters, as people see them, end: extended grapheme clusters after UAX #29.
 *
 * `Intl.Segmenter` is missing on phones, hence the table: letters of classes and lengths of runs, from U+0000 on. It errs
 * on one side only (scripts/tables.ts): a grapheme is never cut, but in some scripts two may be taken for one.
 */

// <table>
const UNICODE = '15.0'
const RUNS =
  'CaNC2RCiO2nCxO9XO3CXOghE34O7nE7O7bE1jO1kP6OaEbOCO1aElOgEO2tE7POEfOxPOEOuErO2jEbO1mE9O9EOoEoO17E3O1gP2O6E8O16Eo' +
  'PExO1iEuOaE2OtE3O1kEiO9EOaE2OqE6O1kEmOuE2O3EObE3O1kEiOkE2OmEaO1kEsOaE2OuEO1nEgO9EO14E5O1jErObE2OtE3O1kErObE2Of' +
  'EhO1jEjPO8EOaE2OtE3O1yEmOiE2O1pEaOcE8O2qEcObE7O21E2OrE5O4E2O1dEnO5E1cO9EO2uEiOnE4O4E3OgE4OdE5O6EOfEO2qL2oV20T2' +
  'gO9pE3OqaE4OsE3OtE2OuE2O1sEwO9EO19E3CEO39E2OyEO3aEsO63E5O1lE17O1cE2dO1bEhO12E9OcE3OuEdO1kEeO1cEkO48EpO4EO6E6O5' +
  'iE1sOejCEZC2OoC7OdXOcXOmCgO2oExO1dXoO2eX228O6nE3O3xEO2oEwOfeE6XOcXO2jE2Oe4X3OmvpEfOwE2O28E2O7kEO3EO4EOnE5O4EO2' +
  'bE2O1eEiOqEiOdEO12E8OpEdOcLtO3E4O1bEeO10EO1vEeOcEO8E2O1aEO1fE9O5E4O15E5O5E2O6kEbO8n6VnO4T1dO6xuEOkhEgOgEgO5rCO' +
  '4eE2O28CcOe9EamO1aeE1buO2PO4EOaPO1eE5dOP2O5E1h2PEPE6wPExO14P6EjgPEcbPE1sO44tCgEmOasaE1zOt4E4jOf57E2OC4O3mkEhfC' +
  '8E5mO1izE4wO11sE1u3O1bpXdiIqXe3E5X2daOguteCwE2oC3kE6oC2s0O44jk'
// </table>

/** The version of Unicode that the table is of. */
export const UNICODE_VERSION = UNICODE

/** The end of the cluster that begins at `start`, which has to be the beginning of one, as far as the text is known. */
export function graphemeEnd(text: string, start: number): number {
  let at = start
  let before = ''
  let inEmoji = false // the cluster ends with a pictograph, perhaps with marks or a joiner behind it
  let inFlag = false // the cluster ends with the first half of a flag
  while (at < text.length) {
    // `at` is inside the text, so there is a code point; the cast says so.
    const codePoint = text.codePointAt(at) as number
    const after = classOf(codePoint)
    if (at > start && !joins(before, after, inEmoji, inFlag)) break
    inEmoji = after === 'X' || (inEmoji && before !== 'Z' && (after === 'E' || after === 'Z'))
    inFlag = after === 'I' && !inFlag
    before = after
    at += codePoint > 0xffff ? 2 : 1
  }
  return at
}

/** What may follow without a break: rules GB3 and GB6 to GB8. */
const FOLLOWERS: Record<string, string> = { R: 'N', L: 'LVAB', A: 'VT', V: 'VT', B: 'T', T: 'T' }

function joins(before: string, after: string, inEmoji: boolean, inFlag: boolean): boolean {
  if ((FOLLOWERS[before] || '').indexOf(after) >= 0) return true
  if (isControl(before) || isControl(after)) return false // GB4, GB5
  if (after === 'E' || after === 'Z' || before === 'P') return true // GB9, GB9a, GB9b
  return (inEmoji && before === 'Z' && after === 'X') || (inFlag && after === 'I') // GB11, GB12, GB13
}

function isControl(letter: string): boolean {
  return letter === 'C' || letter === 'R' || letter === 'N'
}

const starts: number[] = [] // where the runs begin; filled at the first use, since many programs never type
const letters: string[] = []

function classOf(codePoint: number): string {
  if (codePoint >= 0x20 && codePoint < 0x7f) return 'O'
  // Hangul syllables: A is the standard's LV, B its LVT.
  if (codePoint >= 0xac00 && codePoint < 0xd7a4) return (codePoint - 0xac00) % 28 ? 'B' : 'A'
  if (!starts.length) readTable()
  let low = 0
  let high = starts.length
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (starts[middle] > codePoint) high = middle
    else low = middle
  }
  return letters[low]
}

function readTable(): void {
  let start = 0
  RUNS.replace(/([A-Z])([^A-Z]*)/g, (_, letter: string, length: string) => {
    starts.push(start)
    letters.push(letter)
    start += length ? parseInt(length, 36) : 1
    return ''
  })
}
