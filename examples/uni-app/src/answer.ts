/** One answer at a time, as refs for a page: what of it is typed, and how it stands. */

import { ref } from 'vue'
import { createClient, createTypewriter, type Following, type Typewriter } from 'dazi'
import { createUniPlatform } from 'dazi/platform/uni'

// A gateway for development; in production HTTPS, and listed among the program's request domains.
const URL = 'http://127.0.0.1:8000'

export function useAnswer() {
  const text = ref('')
  const status = ref('')
  const error = ref('')
  const client = createClient({ url: URL, platform: createUniPlatform(uni) })
  let typewriter: Typewriter | undefined
  let following: Following | undefined

  function ask(question: string): void {
    close()
    error.value = ''
    const typed = createTypewriter((frame) => (text.value = frame.text))
    typewriter = typed
    following = client.ask({ messages: [{ role: 'user', content: question }] }, (update) => {
      status.value = update.status
      typed.replace(update.text)
      if (!update.end) return
      typed.end()
      if (update.end.type === 'failed') error.value = update.end.message || update.end.code || ''
    })
  }

  /** Leave it: the gateway goes on, and nothing is shown any more. */
  function close(): void {
    if (typewriter) typewriter.stop()
    if (following) following.close()
  }

  return {
    text, status, error, ask, close,
    /** Stop the model. */
    stop: () => following && following.abort(),
    hide: () => typewriter && typewriter.pause(),
    show: () => typewriter && typewriter.resume(),
  }
}
