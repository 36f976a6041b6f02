/** The preview's page: a phone, and a panel beside it (`panel=0`: the phone alone, as large as the window). */

import type { Session } from '../session.js'
import { readParameters } from '../parameters.js'
import { drawPanel } from './panel.js'
import { createPhone } from './phone.js'
import './shell.css'

const search = new URLSearchParams(location.search)
const hasPanel = search.get('panel') !== '0'

window.preview = open()
// What is wrong stands in the program's place.
window.preview.catch(() => {})

async function open(): Promise<Awaited<Window['preview']>> {
  const { app, profile } = readParameters(location.search)
  const session = (await (await fetch('session.json')).json()) as Session // our own server's
  const name = app || session.apps[0] || ''
  if (hasPanel) watchFolder(name)
  const phone = createPhone(document.querySelector('.phone') as HTMLElement, { app: name, profile, isBare: !hasPanel })
  const preview = await phone.load(`?${search}`)
  window.preview = preview
  // Emptied once is enough.
  search.delete('fresh')
  history.replaceState(null, '', `?${search}`)
  if (!hasPanel) return preview
  drawPanel(document.querySelector('.panel') as HTMLElement, { session, search, preview, restart })
  return preview
}

function restart(): void {
  location.search = String(search)
}

/** Load anew when a file of the program has changed. */
function watchFolder(app: string): void {
  new EventSource(`changes?app=${encodeURIComponent(app)}`).onmessage = () => location.reload()
}
