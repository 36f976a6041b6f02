/** What is read: text, rich-text, icon, progress, and images. */

import { toCss } from '../../lengths.js'
import { type Definition, inner, type Self } from './definition.js'
import type { World } from './register.js'

interface RichNode {
  type?: 'node' | 'text'
  name?: string
  text?: string
  attrs?: Record<string, string>
  children?: RichNode[]
}

// The documents' table of what <rich-text> trusts; other tags are dropped with all that is in them.
const TRUSTED = new Set(
  (
    'a abbr address article aside b bdi bdo big blockquote br caption center cite code col colgroup dd del div dl dt em fieldset font footer ' +
    'h1 h2 h3 h4 h5 h6 header hr i img ins label legend li mark nav ol p pre q rt ruby s section small span strong sub sup table tbody td tfoot ' +
    'th thead tr tt u ul'
  ).split(' '),
)
const ATTRIBUTES = new Set(['alt', 'src', 'height', 'width', 'colspan', 'rowspan', 'align', 'type', 'start', 'span', 'dir', 'href'])
const ICONS: Record<string, string> = {
  success: '✓',
  success_no_circle: '✓',
  info: 'i',
  warn: '!',
  waiting: '…',
  cancel: '✕',
  download: '↓',
  search: '⌕',
  clear: '✕',
  circle: '○',
  info_circle: 'i',
}
const FITS: Record<string, string> = { scaleToFill: 'fill', aspectFit: 'contain', aspectFill: 'cover' }

export function createTexts(world: World): Record<string, Definition> {
  const image: Definition = {
    properties: {
      src: String,
      mode: { type: String, value: 'scaleToFill' },
      lazyLoad: Boolean,
      showMenuByLongpress: Boolean,
      webp: Boolean,
    },
    attached(element) {
      const img = inner<HTMLImageElement>(element, 'img')
      img.addEventListener('load', () => this.triggerEvent('load', { width: img.naturalWidth, height: img.naturalHeight }))
      img.addEventListener('error', () => this.triggerEvent('error', { errMsg: `GET ${this.data['src']} 404 (Not Found)` }))
    },
    observers: {
      src(value, element) {
        const img = inner<HTMLImageElement>(element, 'img')
        if (value) img.src = world.fileUrl(this, value)
        else img.removeAttribute('src')
      },
      mode(value, element) {
        const img = inner<HTMLImageElement>(element, 'img')
        img.style.objectFit = FITS[value] || 'none'
        img.style.objectPosition = FITS[value] ? '' : String(value)
        element.setAttribute('mode', value)
      },
      ariaLabel: (value, element) => void (inner<HTMLImageElement>(element, 'img').alt = value || ''),
    },
  }
  return {
    text: {
      properties: { selectable: Boolean, userSelect: Boolean, space: String, decode: Boolean },
      observers: {
        'selectable, userSelect': function (this: Self, _, element) {
          element.style.userSelect = this.data['selectable'] || this.data['userSelect'] ? 'text' : ''
        },
        space: (value, element) => void (element.style.whiteSpace = value ? 'pre-wrap' : ''),
      },
    },
    'rich-text': {
      properties: { nodes: { type: null, value: [] }, space: String, userSelect: Boolean, mode: String },
      observers: {
        nodes(value, element) {
          element.replaceChildren(contentOf(value, (name) => world.className(this, name)))
        },
        space: (value, element) => void (element.style.whiteSpace = value ? 'pre-wrap' : ''),
        userSelect: (value, element) => void (element.style.userSelect = value ? 'text' : ''),
      },
    },
    icon: {
      properties: { type: String, size: { type: null, value: 23 }, color: String },
      reflected: ['type'],
      observers: {
        type: (value, element) => void (element.textContent = ICONS[value] || ''),
        size: (value, element) => void (element.style.fontSize = toCss(/^\d+$/.test(String(value)) ? `${value}px` : String(value))),
        color: (value, element) => void (element.style.color = value),
      },
    },
    progress: {
      properties: {
        percent: Number,
        showInfo: Boolean,
        strokeWidth: { type: null, value: 6 },
        activeColor: { type: String, value: '#09BB07' },
        backgroundColor: String,
        active: Boolean,
        color: String,
        activeMode: String,
        duration: Number,
        borderRadius: { type: null, value: 0 },
        fontSize: Number,
      },
      role: 'progressbar',
      observers: {
        percent(value, element) {
          inner(element, '.preview-progress-bar').setAttribute('style', `width:${value}%;background:${this.data['activeColor']}`)
          element.setAttribute('aria-valuenow', String(value))
        },
      },
    },
    image,
    'cover-image': image,
  }
}

function contentOf(nodes: unknown, className: (name: string) => string): DocumentFragment {
  const fragment = document.createDocumentFragment()
  if (typeof nodes === 'string') {
    const parsed = new DOMParser().parseFromString(nodes, 'text/html')
    for (const child of parsed.body.childNodes) appendDom(fragment, child, className)
  } else {
    // What a program hands over is looked at field by field.
    for (const node of (Array.isArray(nodes) ? nodes : []) as RichNode[]) appendNode(fragment, node, className)
  }
  return fragment
}

function appendNode(
  parent: Node,
  { type = 'node', name = '', text = '', attrs = {}, children = [] }: RichNode,
  className: (name: string) => string,
): void {
  if (type === 'text') return void parent.appendChild(document.createTextNode(decoded(text)))
  const tag = name.toLowerCase()
  if (!TRUSTED.has(tag)) return
  const element = document.createElement(tag)
  for (const [attribute, value] of Object.entries(attrs)) setAttribute(element, attribute, String(value), className)
  for (const child of children) appendNode(element, child, className)
  parent.appendChild(element)
}

function appendDom(parent: Node, node: Node, className: (name: string) => string): void {
  if (node instanceof Text) return void parent.appendChild(document.createTextNode(node.data))
  if (!(node instanceof HTMLElement) || !TRUSTED.has(node.localName)) return
  const element = document.createElement(node.localName)
  for (const { name, value } of node.attributes) setAttribute(element, name, value, className)
  for (const child of node.childNodes) appendDom(element, child, className)
  parent.appendChild(element)
}

function setAttribute(element: HTMLElement, name: string, value: string, className: (name: string) => string): void {
  if (name === 'class') element.className = value.split(/\s+/).filter(Boolean).map(className).join(' ')
  else if (name === 'style') element.style.cssText = toCss(value)
  // A link in rich-text leads nowhere, as on the phone.
  else if (name !== 'href' && ATTRIBUTES.has(name)) element.setAttribute(name, value)
}

const ENTITIES: Record<string, string> = {
  lt: '<',
  gt: '>',
  amp: '&',
  nbsp: '\u00a0',
  quot: '"',
  apos: "'",
  ensp: '\u2002',
  emsp: '\u2003',
}

function decoded(text: string): string {
  return text.replace(/&(\w+);/g, (whole, name: string) => ENTITIES[name] ?? whole)
}
