// The operator's page: asks for the state every two seconds and draws it. The key stays in this tab.

const EVERY = 2000
const KEPT = 150 // five minutes of points
const by = (id) => document.getElementById(id)
const series = { running: [], readers: [], rate: [], starts: [] }
let last = null

async function ask(path, options = {}) {
  const key = sessionStorage.getItem('dazi_admin_key')
  const headers = key ? { Authorization: `Bearer ${key}` } : {}
  const response = await fetch(`admin/${path}`, { ...options, headers: { ...headers, ...options.headers } })
  const body = await response.json()
  if (!response.ok) throw Object.assign(new Error(`${body.error.message} ${body.error.remedy}`), { status: response.status })
  return body
}

async function look() {
  try {
    show(await ask('state'))
    open(true)
  } catch (error) {
    if (error.status === 401 || error.status === 403) open(false, sessionStorage.getItem('dazi_admin_key') || error.status === 403 ? error.message : '')
    else by('process').textContent = 'The gateway does not answer.'
  }
  setTimeout(look, EVERY)
}

function open(isOpen, refusal = '') {
  by('board').hidden = !isOpen
  by('login').hidden = isOpen
  if (refusal) by('refusal').textContent = refusal
}

function show(state) {
  const now = performance.now()
  by('process').textContent = `Dazi ${state.version} · process ${state.process} · up ${duration(state.uptime)}`
  by('level').value = state.log_level
  if (last) {
    const seconds = (now - last.at) / 1000
    draw('rate', (state.pieces - last.pieces) / seconds, 0)
    draw('starts', ((state.begun - last.begun) / seconds) * 60, 0)
  }
  draw('running', state.running.length, 0)
  draw('readers', state.readers, 0)
  last = { at: now, pieces: state.pieces, begun: state.begun }
  fill('live', state.running, (one) => [id(one.generation), one.owner, one.model, one.seconds.toFixed(1), one.pieces, one.readers, stop(one.generation)])
  by('health').hidden = state.upstreams.length === 0
  fill('upstreams', state.upstreams, (one) => [
    one.name, one.models.join(', '), breaker(one), one.concurrency ? `${one.outstanding} of ${one.concurrency}` : one.outstanding, `${Math.round(one.health * 100)} %`, endings(one.recent),
  ])
  const reasons = Object.entries(state.reasons).sort((a, b) => b[1] - a[1])
  fill('reasons', reasons, ([reason, count]) => [word(reason), count])
  fill('ends', state.ends.slice(0, 25), (one) => [
    id(one.generation), one.model, word(one.reason), one.first_token === null ? '–' : `${one.first_token.toFixed(2)} s`, one.seconds.toFixed(1), one.pieces,
  ])
}

function draw(name, value, digits) {
  const points = series[name]
  points.push(Math.max(0, value))
  if (points.length > KEPT) points.shift()
  by(name).textContent = value.toFixed(digits)
  const top = Math.max(1, ...points)
  const first = KEPT - points.length // the newest is at the right end
  const path = points.map((point, at) => `${at ? 'L' : 'M'}${((first + at) / (KEPT - 1)) * 100} ${34 - (point / top) * 32}`).join('')
  const svg = document.querySelector(`svg[data-series=${name}]`)
  svg.setAttribute('viewBox', '0 0 100 36')
  svg.setAttribute('preserveAspectRatio', 'none')
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'path')
  line.setAttribute('d', path)
  svg.replaceChildren(line)
}

function fill(table, rows, cells) {
  const body = document.querySelector(`#${table} tbody`)
  body.replaceChildren(...rows.map((row) => {
    const line = document.createElement('tr')
    line.append(...cells(row).map(cell))
    return line
  }))
}

function cell(content) {
  const made = content instanceof HTMLElement && content.tagName === 'TD' ? content : document.createElement('td')
  if (made !== content) made.append(content instanceof Node ? content : String(content))
  return made
}

function id(generation) {
  const made = document.createElement('td')
  made.className = 'id'
  made.title = generation
  made.textContent = generation.slice(0, 12)
  return made
}

function word(reason) {
  const made = document.createElement('td')
  made.textContent = reason
  if (!['done', 'aborted'].includes(reason)) made.className = 'bad'
  return made
}

function breaker({ state, rests }) {
  const made = document.createElement('td')
  const words = { closed: rests ? `asked again in ${Math.ceil(rests)} s` : 'asked', open: `left alone, ${Math.ceil(rests)} s`, 'half-open': 'on trial' }
  made.textContent = words[state]
  if (state !== 'closed' || rests) made.className = 'bad'
  return made
}

function endings(codes) {
  const made = document.createElement('td')
  made.className = 'endings'
  for (const code of codes) {
    const mark = document.createElement('i')
    mark.title = code
    mark.className = { done: 'good', stopped: 'still' }[code] || 'wrong'
    made.append(mark)
  }
  made.setAttribute('aria-label', codes.join(', '))
  return made
}

function stop(generation) {
  const button = document.createElement('button')
  button.textContent = 'abort'
  button.setAttribute('aria-label', `abort ${generation}`)
  button.onclick = async () => {
    button.disabled = true
    await ask(`generations/${generation}/abort`, { method: 'POST' }).catch((error) => alert(error.message))
  }
  return button
}

function duration(seconds) {
  if (seconds < 120) return `${seconds} s`
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`
}

by('login').onsubmit = (event) => {
  event.preventDefault()
  sessionStorage.setItem('dazi_admin_key', by('key').value.trim())
  by('key').value = ''
  ask('state').then((state) => { show(state); open(true) }, (error) => open(false, error.message))
}

by('level').onchange = () => {
  const body = JSON.stringify({ level: by('level').value })
  ask('log-level', { method: 'POST', body, headers: { 'Content-Type': 'application/json' } }).catch((error) => alert(error.message))
}

look()
