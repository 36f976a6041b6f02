/** What acts: button, form, navigator. */

import { type Definition, type Self } from './definition.js'
import type { World } from './register.js'

const NAVIGATES: Record<string, string> = {
  navigate: 'navigateTo',
  redirect: 'redirectTo',
  switchTab: 'switchTab',
  reLaunch: 'reLaunch',
  navigateBack: 'navigateBack',
}

export function createForms(world: World): Record<string, Definition> {
  return {
    button: {
      properties: {
        size: String,
        type: String,
        plain: Boolean,
        disabled: Boolean,
        loading: Boolean,
        formType: String,
        openType: String,
        lang: String,
        hoverClass: { type: String, value: 'button-hover' },
        appParameter: String,
        sessionFrom: String,
        businessId: Number,
        sendMessageTitle: String,
        sendMessagePath: String,
        sendMessageImg: String,
        showMessageCard: Boolean,
      },
      canHover: true,
      role: 'button',
      reflected: ['size', 'type', 'plain', 'loading', 'formType', 'openType'],
      observers: {
        disabled(value, element) {
          element.toggleAttribute('disabled', Boolean(value))
          element.ariaDisabled = value ? 'true' : null
          element.tabIndex = value ? -1 : 0
        },
      },
      attached(element) {
        element.tabIndex = this.data['disabled'] ? -1 : 0
        // What a person without a pointer does; the engine makes a tap of fingers and mice alone.
        element.addEventListener('keydown', ({ key }) => {
          if ((key === 'Enter' || key === ' ') && !this.data['disabled'])
            this.triggerEvent('tap', { x: 0, y: 0 }, { bubbles: true, composed: true })
        })
        this.addListener('tap', () => {
          const form = formOf(element)
          if (form && this.data['formType'] === 'submit') form['submit']()
          if (form && this.data['formType'] === 'reset') form['reset']()
          open(world, this)
        })
      },
    },
    form: {
      properties: { reportSubmit: Boolean, reportSubmitTimeout: Number },
      attached(element) {
        this['submit'] = () => this.triggerEvent('submit', { value: valuesIn(element) })
        this['reset'] = () => {
          fieldsIn(element).forEach(clear)
          this.triggerEvent('reset', {})
        }
      },
    },
    navigator: {
      properties: {
        url: String,
        openType: { type: String, value: 'navigate' },
        delta: { type: Number, value: 1 },
        target: String,
        hoverClass: { type: String, value: 'navigator-hover' },
      },
      canHover: true,
      role: 'link',
      attached() {
        this.addListener('tap', () => {
          const api = NAVIGATES[String(this.data['openType'])]
          if (api) world.navigate(api, api === 'navigateBack' ? { delta: Number(this.data['delta']) } : { url: String(this.data['url']) })
        })
      },
    },
  }
}

// What a button asks WeChat for by its `open-type`, and the event that answers.
const ASKS: Record<string, string> = {
  getPhoneNumber: 'getphonenumber',
  getRealtimePhoneNumber: 'getrealtimephonenumber',
  getUserInfo: 'getuserinfo',
  chooseAvatar: 'chooseavatar',
  openSetting: 'opensetting',
  agreePrivacyAuthorization: 'agreeprivacyauthorization',
}

function open(world: World, button: Self): void {
  const type = String(button.data['openType'] || '')
  if (!type) return
  if (type === 'share') return world.share(button)
  world.missing(`<button open-type="${type}">`)
  if (ASKS[type]) button.triggerEvent(ASKS[type], { errMsg: `${type}:fail it is not in this preview` })
}

type Host = HTMLElement & { __wxElement?: Self }

function formOf(element: HTMLElement): Self | undefined {
  return element.closest<Host>('wx-form')?.__wxElement
}

function fieldsIn(form: HTMLElement): Self[] {
  const all = form.querySelectorAll<Host>('wx-input, wx-textarea, wx-switch, wx-slider, wx-picker, wx-checkbox-group, wx-radio-group')
  return Array.from(all, ({ __wxElement }) => __wxElement as Self)
}

function valuesIn(form: HTMLElement): Record<string, unknown> {
  const named = fieldsIn(form).filter(({ data }) => data['name'])
  return Object.fromEntries(named.map((field) => [String(field.data['name']), valueOf(field)]))
}

function valueOf(field: Self): unknown {
  if (typeof field['read'] === 'function') return field['read']() as unknown
  return field.is === 'wx://switch' ? field.data['checked'] : field.data['value']
}

function clear(field: Self): void {
  if (field.is === 'wx://switch') field.setData({ checked: false })
  else if (typeof field['clear'] === 'function') field['clear']()
  else field.setData({ value: field.is === 'wx://slider' || field.is === 'wx://picker' ? 0 : '' })
}
