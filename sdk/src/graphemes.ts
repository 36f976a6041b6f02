/**
 * Where characters, as people see them, end: extended grapheme clusters after UAX #29.
 *
 * `Intl.Segmenter` is missing on phones, hence the table: letters of classes and lengths of runs, from U+0000 on.
 */

// <table>
const UNICODE = '15.0'
const RUNS =
  'CaNC2RCiO2nCxO9XO3CXOghE34O7nE7O7bE19OEOE2OE2OEO1kP6OaEbOCO1aElOgEO2tE7POE6O2E2OE4OxPOEOuErO2jEbO1mE9O9EOoE4OE' +
  '9OE3OE5O17E3O1gP2O6E8O16EoPEwSO1iESEOS3E8S4ES2OE7OaE2OtES2O1kEOES2E4O2S2O2S2EO9EOaE2OqEO2E2SO1kEOS3E2O4E2O2E3O' +
  '3EOuE2O3EObE2SO1kEOS3E5OE2SOS2EOkE2OmE6OES2O1kEOE2SE4O2S2O2S2EO7E3OaE2OuEO1nESES2O3S3OS3EO9EO14ES3EO1jEOE3S4OE' +
  '3OE4O7E2ObE2OtES2O1kEOSES2ES2OES2OS2E2O7E2ObE2OfSOcE2S2O1jE2OES2E4OS3OS3EPO8EOaE2OtES2O1yEO4ES2E3OEOS7EOiS2O1p' +
  'EOSE7OcE8O2qEOSE9ObE7O21E2OrEOEOEO4S2O1dEeSE5OE2O5EbOE10O9EO2uE4SE6OE2S2E2OnS2E2O4E3OgE4OdEOSE2O6EOfEO2qL2oV20' +
  'T2gO9pE3OqaE3SOsE2SOtE2OuE2O1sE2SE7S8ES2EbO9EO19E3CEO39E2OyEO3aE3S4E2S3O4S2ES6E3O63E2S2EO1lSESE7OEOEO2E8S6EaO2' +
  'EO1cEvO1dE4SO1bE7SES5ES2O12E9OcE2SOuSE4S2E2SE3O1kESE2S3ESE3S2O1cS8E8S2E2O48E3OEdSE7O4EO6EO2SE2O5iE1sOejCEZC2Oo' +
  'C7OdXOcXOmCgO2oExO1dXOmXO2iX6OfX2Oa7X2OcXO2nXO1yXOpXbO4X3O5jXO6fX2OaXO9XO1mX4OX6OXcOX36OaX3aO2XbOXOXO6XO3XO6XO' +
  'aX2OfXO2XO4XOXO4X3OXObX5O19X3O9XOeXOeXOacX2OcvX3OjX2O1fXO4XObdE3O3xEO2oEwOfeE6XOcXO2jE2Oe4XOXOmvpE4OEaOwE2O28E' +
  '2O7kEO3EO4EOnS2E2SO4EO2bS2O1eSgE2OqEiOdEO12E8OpEbS2OcLtO3E3SO1bES2E4S2E2S3O10EO1vE6S2E2S2E2OcEO8ESO1aEO1fEOE3O' +
  '2E2O5E2OEO15SE2S2O5SEO6kS2ES2ES2OSEO8n6VnO4T1dO6xuEOkhEgOgEgO5rCO4eE2O28CcOe9EO6aEO45E5O1aeE3OE2O5E4O14E3O4EO4' +
  'lE2OfxE4OarE2O28E3O1yEbO1dE4O3eSESO1hEfO15EO2E2OaE3SO19S3E4S2E2O2PO4EOaPO1eE3O10E5SE8OgS2O18EOcE2SO1cS3E9S2OP2' +
  'O5E4OSEO2kS3E3S2ESE2O6EO2EO4dES3E8OlE2S2O1jE2OESES4O2S2O2S3O9EOaS2O2E7O3E5O5cS3E8S2E3SEOnEO29ES2E6SES2ESE2SE2O' +
  '6jES2E4O2S4E2SE2OrE2O2aS3E8S2ESE2O2yESES2E6SEO2tE3O2E4SE5O74S3E9SE2O6tES5OS2O2E2SEPSPSEO3xS3E4O2E2S4EO3SOsEaO1' +
  '4E6SPE4O8EO9E6S2E3O14P6EdSE2Ob9SE7OE6SEO2aEmOSE7SE2SE2O3eE6O3EOE2OE7PEO1uS5OE2OS2ESEO9nE2S2O9E2PSO1cS2E5O3S2ES' +
  'EO44tCgEO6EfOasaE5O1nE7Ot4EOS1jO7E4O29EObS2Of57E2OC4O3mkE1aO2EnOf2ESE3O3SE5C8E8O2E7OuE4O44E3O1izE1jO4E1eO8EOeE' +
  'OmE5OEfO11sE7OEhO2E7OE2OE5O2sEO4gE7OafEO1pE4Oe4E4OrkE7O31E7O1bpX74OdX3OvXO1oX6OcX2OeXO2XaOiX1lIqOXfOaXOkXO2X9O' +
  'X4O9Xc2E5X8uO8X7eO1cX3kO38XcO2dX17OcX4O1kX8OaX6O14X8OuX2aOcX1bOXaOXc9O74XseOguteCwE2oC3kE6oC2s0O44jk'
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
  if (after === 'E' || after === 'Z' || after === 'S' || before === 'P') return true // GB9, GB9a, GB9b
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
