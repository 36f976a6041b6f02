/**
 * The sheet in which a picker is answered: columns of rows to tap, the browser's own field for a time or a date, or three to write
 * a region into, for WeChat's list of them is not here.
 */

export interface PickOptions {
  mode: string
  columns: string[][]
  value: unknown
  start: string
  end: string
  fields: string
  title: string
  onColumn(column: number, index: number): void
}

/** Ask; undefined if it was cancelled. */
export function pick(options: PickOptions): Promise<unknown> {
  const overlay = element(document.body, 'div', 'preview-overlay preview-dim preview-sheet preview-picker')
  const box = element(overlay, 'div', 'preview-sheet-box')
  const head = element(box, 'div', 'preview-picker-head')
  const read = (READERS[options.mode] || columns)(box, options)
  return new Promise((resolve) => {
    const close = (value: unknown) => {
      overlay.remove()
      resolve(value)
    }
    element(head, 'button', 'preview-picker-cancel', '取消').onclick = () => close(undefined)
    element(head, 'div', 'preview-picker-title', options.title)
    element(head, 'button', 'preview-picker-confirm', '确定').onclick = () => close(read())
  })
}

const READERS: Record<string, (box: HTMLElement, options: PickOptions) => () => unknown> = { time: clock, date: clock, region }

function region(box: HTMLElement, { value }: PickOptions): () => string[] {
  const names = Array.isArray(value) ? value.map(String) : []
  const fields = ['省', '市', '区'].map((placeholder, at) => {
    const input = element(box, 'input', 'preview-picker-field') as HTMLInputElement
    return Object.assign(input, { placeholder, value: names[at] || '' })
  })
  return () => fields.map((input) => input.value)
}

function clock(box: HTMLElement, { mode, value, start, end, fields }: PickOptions): () => unknown {
  const input = element(box, 'input', 'preview-picker-field') as HTMLInputElement
  input.type = mode === 'time' ? 'time' : fields === 'month' ? 'month' : 'date'
  Object.assign(input, { value: String(value || ''), min: start, max: end })
  return () => (fields === 'year' && mode === 'date' ? input.value.slice(0, 4) : input.value)
}

function columns(box: HTMLElement, { mode, columns: all, value, onColumn }: PickOptions): () => unknown {
  const chosen = all.map((_, index) => Number(Array.isArray(value) ? value[index] : value) || 0)
  const row = element(box, 'div', 'preview-picker-columns')
  all.forEach((items, column) => {
    const list = element(row, 'div', 'preview-picker-column')
    items.forEach((item, index) => {
      const one = element(list, 'div', 'preview-picker-item', item)
      one.ariaSelected = String(index === chosen[column])
      one.onclick = () => {
        chosen[column] = index
        for (const other of list.children) other.ariaSelected = String(other === one)
        if (mode === 'multiSelector') onColumn(column, index)
      }
    })
  })
  return () => (mode === 'multiSelector' ? chosen : String(chosen[0] ?? 0))
}

function element(parent: HTMLElement, tag: string, className: string, text = ''): HTMLElement {
  const made = document.createElement(tag)
  made.className = className
  made.textContent = text
  parent.append(made)
  return made
}
