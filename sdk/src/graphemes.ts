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
  'PEyO1hEuOaE2OsE5O1hEuOaE2OqE7O1hEuOaE2OcE2O3EOaE5O1hEuOaE2OmEbO1hEuOaE2OsE5O1hE16OsE5O1hEuOaE2OsE5O1hEuOaE2OfE' +
  'iO1hEkPE9OaE2OtE3O1yEmOiE2O1pEaOcE8O2qEcObE7O21E2OrE5O4E2O1dEnO5E1cO9EO2uEiOnE4O4E3OgE4OdE5O6EOfEO2qL2oV20T2gO' +
  '9pE3OqaE2qO1sEwO9EO19E3CEO39E2OyEO3aEsO63E5O1lE17O1cE2dO1bEhO12EoOuEdO1kEeO1cEkO48E16O5iE1sOejCEZC2OoC7OdXOcXO' +
  'mCgO2oExO1dXoO2eX228O6nE3O3xEO2oEwOfeE6XOcXO2jE2Oe4X3OmvpEfOwE2O28E2O7kEaOnEaO2bE2O1eEiOqEwO12E8OpEdOcLtO3E4O1' +
  'bEeO10EO1vE11O1aEO1fEiO15EcO6kEbO8n6VnO4T1dO6xuEOkhEgOgEgO5rCO4eE2O28CcOe9E5s6O44tCgEmOasaEzmOf57E2OC4O3mkEhfC' +
  '8E5mO1izE30rO1bpXdiIqXe3E5X2da'
// </table>

/** The version of Unicode that the table is of. */
export const UNICODE_VERSION = UNICODE

/** Whether the last of the classes of a cluster belongs to it: rules GB3, GB6 to GB8, GB9 to GB9b, GB11, GB12. */
const JOINS = /RN$|L[LVAB]$|[AV][VT]$|[BT]T$|[^RNC][EZ]$|P[^RNC]$|XE*ZX$|(?:^|[^I])II$/

/** The end of the cluster that begins at `start`, which has to be the beginning of one, as far as the text is known. */
export function graphemeEnd(text: string, start: number): number {
  let at = start
  let cluster = '' // the classes of its last code points, as many as the rules look at
  while (at < text.length) {
    // `at` is inside the text, so there is a code point; the cast says so.
    const codePoint = text.codePointAt(at) as number
    cluster = cluster.slice(-3).replace('EE', 'E') + classOf(codePoint)
    if (at > start && !JOINS.test(cluster)) break
    at += codePoint > 0xffff ? 2 : 1
  }
  return at
}

let classes = '' // of the code points up to the table's last; filled at the first use, since many programs never type

function classOf(codePoint: number): string {
  // Hangul syllables: A is the standard's LV, B its LVT.
  if (codePoint >= 0xac00 && codePoint < 0xd7a4) return (codePoint - 0xac00) % 28 ? 'B' : 'A'
  // Tags and variation selectors, and what may join them there one day.
  if (codePoint >= 0xe0000) return 'E'
  if (!classes) classes = RUNS.replace(/(\D)([\da-z]*)/g, (_, letter: string, length: string) => letter.repeat(parseInt(length || '1', 36)))
  return classes[codePoint] || 'O'
}
