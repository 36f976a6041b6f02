/** What changed in data, as `setData` wants it: values by path. */

export type Patch = Record<string, unknown>

/** Add what makes `before`, which is at `path`, into `after`. The first of two lists' items has the number `first`. */
export function addChanges(patch: Patch, path: string, before: unknown, after: unknown, first = 0): void {
  if (Array.isArray(before) && Array.isArray(after) && before.length <= after.length) {
    after.forEach((item, index) => {
      if (item !== before[index]) addChanges(patch, `${path}[${first + index}]`, before[index], item)
    })
  } else if (isRecord(before) && isRecord(after) && Object.keys(before).every((key) => key in after)) {
    for (const key of Object.keys(after)) if (after[key] !== before[key]) addChanges(patch, `${path}.${key}`, before[key], after[key])
  } else patch[path] = after
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
