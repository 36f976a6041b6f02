/** What is wrong with a mini program's files, as DevTools would say it: file, place, words. */

export interface Problem {
  /** Path inside the program's folder. */
  file: string
  line?: number
  message: string
  /** A warning lets the program run. */
  isError: boolean
}

export function wordsOf({ file, line, message }: Problem): string {
  return `${file}${line ? `:${line}` : ''}: ${message}`
}
