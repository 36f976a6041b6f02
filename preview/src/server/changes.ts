/** Tells who listens (as server-sent events) when a file of a folder has changed. */

import { watch } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'

// Editors and builds write many files in a row.
const QUIET_MILLISECONDS = 300

export function tellChanges(folder: string, request: IncomingMessage, response: ServerResponse): void {
  let timer: ReturnType<typeof setTimeout> | undefined
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' }).write(': listening\n\n')
  const watcher = watch(folder, { recursive: true }, (_, name) => {
    if (name?.includes('node_modules')) return
    clearTimeout(timer)
    timer = setTimeout(() => response.write('data: changed\n\n'), QUIET_MILLISECONDS)
  })
  // What cannot be watched (too many files, a folder that is gone) is reloaded by hand.
  watcher.on('error', () => watcher.close())
  request.on('close', () => {
    clearTimeout(timer)
    watcher.close()
  })
}
