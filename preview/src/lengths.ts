/** Lengths as WXSS has them and CSS has not, in sheets and in `style=""`. */

/** The width of the design that rpx are counted in. */
const DESIGN = 750

export function toCss(value: string): string {
  const shares = value.replace(/(-?\d*\.?\d+)rpx\b/g, (_, number: string) => `${Number(((Number(number) * 100) / DESIGN).toFixed(5))}vw`)
  // A browser's window has no safe area: it is what the phone's frame says.
  return shares.replace(/\b(?:env|constant)\(\s*safe-area-inset-(\w+)\s*(?:,[^)]*)?\)/g, 'var(--safe-area-inset-$1, 0px)')
}
