/** What is chosen: switch, checkbox, radio, slider, picker. */

import { type Definition, inner, type Self } from './definition.js'
import { pick } from './picker.js'
import type { World } from './register.js'

export function createChoices(_world: World): Record<string, Definition> {
  const box: Definition = {
    properties: { value: String, checked: Boolean, disabled: Boolean, color: String, name: String },
    reflected: ['disabled', 'checked'],
    observers: { checked: (value, element) => void (element.ariaChecked = String(Boolean(value))) },
  }
  return {
    switch: {
      ...box,
      role: 'switch',
      properties: { ...box.properties, type: { type: String, value: 'switch' } },
      attached(element) {
        onTap(this, element, () => {
          this.setData({ checked: !this.data['checked'] })
          this.triggerEvent('change', { value: this.data['checked'] })
        })
      },
      observers: {
        ...box.observers,
        color: (value, element) => void element.style.setProperty('--preview-on', value || ''),
        type: (value, element) => void element.setAttribute('type', value),
      },
    },
    checkbox: {
      ...box,
      role: 'checkbox',
      attached(element) {
        onTap(this, element, () => {
          this.setData({ checked: !this.data['checked'] })
          groupOf(this, 'wx://checkbox-group')?.['change']()
        })
      },
    },
    'checkbox-group': {
      properties: { name: String },
      attached(element) {
        this['change'] = () => {
          const value = checkedIn(element)
          this['chosen'] = value
          this.triggerEvent('change', { value })
        }
        this['read'] = () => checkedIn(element)
      },
    },
    radio: {
      ...box,
      role: 'radio',
      attached(element) {
        onTap(this, element, () => {
          if (this.data['checked']) return
          const group = groupOf(this, 'wx://radio-group')
          group?.['clear']()
          this.setData({ checked: true })
          group?.triggerEvent('change', { value: this.data['value'] })
        })
      },
    },
    'radio-group': {
      properties: { name: String },
      role: 'radiogroup',
      attached(element) {
        this['clear'] = () => boxesIn(element).forEach((one) => one.setData({ checked: false }))
        this['read'] = () => checkedIn(element)[0] || ''
      },
    },
    slider: {
      properties: {
        min: Number,
        max: { type: Number, value: 100 },
        step: { type: Number, value: 1 },
        value: Number,
        disabled: Boolean,
        showValue: Boolean,
        name: String,
        activeColor: String,
        backgroundColor: String,
        blockSize: Number,
        blockColor: String,
      },
      attached(element) {
        const range = inner<HTMLInputElement>(element, 'input')
        const value = () => Number(range.value)
        range.addEventListener('input', () => this.triggerEvent('changing', { value: value() }))
        range.addEventListener('change', () => {
          this.setData({ value: value() })
          this.triggerEvent('change', { value: value() })
        })
      },
      observers: {
        'min, max, step, value': function (this: Self, _, element) {
          const { min, max, step, value } = this.data as Record<string, number>
          Object.assign(inner(element, 'input'), { min, max, step, value })
        },
        disabled: (value, element) => void (inner<HTMLInputElement>(element, 'input').disabled = Boolean(value)),
      },
    },
    picker: {
      properties: {
        mode: { type: String, value: 'selector' },
        range: { type: Array, value: [] },
        rangeKey: String,
        value: { type: null, value: 0 },
        disabled: Boolean,
        start: String,
        end: String,
        fields: { type: String, value: 'day' },
        headerText: String,
        name: String,
        customItem: String,
      },
      role: 'button',
      attached(element) {
        onTap(this, element, () => void open(this))
      },
    },
  }
}

async function open(self: Self): Promise<void> {
  const { mode, range, rangeKey, value, start, end, fields, headerText } = self.data
  const label = (item: any) => String(rangeKey ? item[rangeKey] : item) // any: what the program has put there
  const columns: string[][] = mode === 'multiSelector' ? range.map((column: any[]) => column.map(label)) : [range.map(label)]
  const chosen = await pick({
    mode,
    columns,
    value,
    start,
    end,
    fields,
    title: headerText,
    onColumn: (column, index) => self.triggerEvent('columnchange', { column, value: index }),
  })
  if (chosen === undefined) return void self.triggerEvent('cancel', {})
  self.setData({ value: chosen })
  self.triggerEvent('change', { value: chosen })
}

/** `preview-tap` is a label's. */
function onTap(self: Self, element: HTMLElement, act: () => void): void {
  const tapped = () => {
    if (!self.data['disabled']) act()
  }
  self.addListener('tap', tapped)
  element.addEventListener('preview-tap', tapped)
}

function groupOf(self: Self, path: string): Self | undefined {
  let node = (self.$$ as unknown as HTMLElement).parentElement as (HTMLElement & { __wxElement?: Self }) | null
  while (node && node.__wxElement?.is !== path) node = node.parentElement
  return node?.__wxElement
}

function boxesIn(group: HTMLElement): Self[] {
  const elements = group.querySelectorAll('wx-checkbox, wx-radio')
  return Array.from(elements, (element) => (element as unknown as { __wxElement: Self }).__wxElement)
}

function checkedIn(group: HTMLElement): string[] {
  return boxesIn(group)
    .filter(({ data }) => data['checked'])
    .map(({ data }) => String(data['value']))
}
