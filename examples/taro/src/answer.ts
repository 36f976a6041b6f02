/** One answer at a time, as state of a page: what of it is typed, and how it stands. */

import Taro, { useDidHide, useDidShow, useUnload } from '@tarojs/taro'
import { createClient, createTypewriter, type Following, type Typewriter } from 'dazi'
import { createTaroPlatform } from 'dazi/platform/taro'
import { useRef, useState } from 'react'

// A gateway for development; in production HTTPS, and listed among the program's request domains.
const URL = 'http://127.0.0.1:8000'

const client = createClient({ url: URL, platform: createTaroPlatform(Taro) })

export function useAnswer() {
  const [text, setText] = useState('')
  const [status, setStatus] = useState('')
  const [error, setError] = useState('')
  const typewriter = useRef<Typewriter>()
  const following = useRef<Following>()

  /** Leave it: the gateway goes on, and nothing is shown any more. */
  function close(): void {
    typewriter.current?.stop()
    following.current?.close()
  }

  function ask(question: string): void {
    close()
    setError('')
    const typed = createTypewriter((frame) => setText(frame.text))
    typewriter.current = typed
    following.current = client.ask({ messages: [{ role: 'user', content: question }] }, (update) => {
      setStatus(update.status)
      typed.replace(update.text)
      if (!update.end) return
      typed.end()
      if (update.end.type === 'failed') setError(update.end.message || update.end.code || '')
    })
  }

  useDidHide(() => typewriter.current?.pause())
  useDidShow(() => typewriter.current?.resume())
  useUnload(close)

  return {
    text, status, error, ask,
    /** Stop the model. */
    stop: () => following.current?.abort(),
  }
}
