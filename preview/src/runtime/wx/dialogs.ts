/**
 * Toasts, dialogs, action sheets and pictures: drawn over the program, and answered by a person, or by a test that taps them.
 *
 * Laws: one toast at a time, which a loading sign is too; what was shown is noted.
 */

import { call } from './calls.js'

interface Toast {
  title: string
  icon?: string
  image?: string
  duration?: number
  mask?: boolean
}
interface Modal {
  title?: string
  content?: string
  showCancel?: boolean
  cancelText?: string
  confirmText?: string
  confirmColor?: string
  cancelColor?: string
  editable?: boolean
  placeholderText?: string
}
interface Sheet {
  itemList: string[]
  itemColor?: string
  alertText?: string
}

const ICONS: Record<string, string> = { success: '✓', error: '✕', loading: '', none: '' }
const TOAST_MILLISECONDS = 1500
const MOST_ITEMS = 6

/** @param fileUrl where a picture of the program's is served. */
export function createDialogs(note: (kind: string, value: unknown) => void, fileUrl: (src: string) => string) {
  let hideToast = () => {}

  function toast({ title, icon = 'success', duration = TOAST_MILLISECONDS, mask = false }: Toast, isLoading: boolean): void {
    hideToast()
    const element = overlay(`preview-toast${mask ? ' preview-mask' : ''}`)
    const box = append(element, 'div', 'preview-toast-box')
    if (isLoading || icon === 'loading') append(box, 'div', 'preview-spinner')
    else if (ICONS[icon]) append(box, 'div', 'preview-toast-icon', ICONS[icon])
    append(box, 'div', 'preview-toast-title', title)
    const timer = isLoading ? undefined : setTimeout(() => hideToast(), duration)
    hideToast = () => {
      clearTimeout(timer)
      element.remove()
      hideToast = () => {}
    }
  }

  function modal(option: Modal): Promise<object> {
    const { title = '', content = '', showCancel = true, cancelText = '取消', confirmText = '确定', editable = false } = option
    note('modal', { title, content })
    const element = overlay('preview-modal preview-dim')
    const box = append(element, 'div', 'preview-modal-box')
    box.setAttribute('role', 'dialog')
    if (title) append(box, 'div', 'preview-modal-title', title)
    const input = editable ? (append(box, 'textarea', 'preview-modal-input') as HTMLTextAreaElement) : undefined
    if (input) Object.assign(input, { value: content, placeholder: option.placeholderText || '' })
    else append(box, 'div', 'preview-modal-content', content)
    const row = append(box, 'div', 'preview-modal-buttons')
    return new Promise((resolve) => {
      const answer = (confirm: boolean) => {
        element.remove()
        resolve({ confirm, cancel: !confirm, ...(input && confirm ? { content: input.value } : {}) })
      }
      if (showCancel) button(row, 'preview-modal-cancel', cancelText, option.cancelColor || '', () => answer(false))
      button(row, 'preview-modal-confirm', confirmText, option.confirmColor || '', () => answer(true))
    })
  }

  function sheet({ itemList, itemColor = '', alertText }: Sheet): Promise<object> {
    if (!itemList?.length || itemList.length > MOST_ITEMS) throw new Error('parameter error: itemList should not be large than 6')
    note('actionSheet', itemList)
    const element = overlay('preview-sheet preview-dim')
    const box = append(element, 'div', 'preview-sheet-box')
    if (alertText) append(box, 'div', 'preview-sheet-alert', alertText)
    return new Promise((resolve, reject) => {
      const close = () => {
        element.remove()
        reject(new Error('cancel'))
      }
      itemList.forEach((item, tapIndex) =>
        button(box, 'preview-sheet-item', item, itemColor, () => {
          element.remove()
          resolve({ tapIndex })
        }),
      )
      button(box, 'preview-sheet-cancel', '取消', '', close)
      element.addEventListener('click', (event) => event.target === element && close())
    })
  }

  /** One of several; a tap leads to the next, and the last one's away. */
  function pictures({ urls, current }: { urls: string[]; current?: string }): void {
    if (!urls?.length) throw new Error('parameter error: parameter.urls should be an array of strings')
    note('picture', current || urls[0])
    let at = Math.max(0, urls.indexOf(current || ''))
    const element = overlay('preview-picture')
    const image = append(element, 'img', 'preview-picture-image') as HTMLImageElement
    const count = append(element, 'div', 'preview-picture-count')
    const draw = () => {
      image.src = fileUrl(urls[at] || '')
      count.textContent = urls.length > 1 ? `${at + 1}/${urls.length}` : ''
    }
    element.addEventListener('click', () => {
      at += 1
      if (at < urls.length) draw()
      else element.remove()
    })
    draw()
  }

  return {
    previewImage: call('previewImage', pictures),
    showToast: call('showToast', (option: Toast) => {
      note('toast', option.title)
      toast(option, false)
    }),
    hideToast: call('hideToast', () => hideToast()),
    showLoading: call('showLoading', (option: Toast) => {
      note('loading', option.title)
      toast(option, true)
    }),
    hideLoading: call('hideLoading', () => hideToast()),
    showModal: call('showModal', modal),
    showActionSheet: call('showActionSheet', sheet),
  }
}

function overlay(className: string): HTMLElement {
  return append(document.body, 'div', `preview-overlay ${className}`)
}

function append(parent: HTMLElement, tag: string, className: string, text = ''): HTMLElement {
  const element = document.createElement(tag)
  element.className = className
  element.textContent = text
  parent.append(element)
  return element
}

function button(parent: HTMLElement, className: string, text: string, color: string, onClick: () => void): void {
  const element = append(parent, 'button', className, text)
  element.style.color = color
  element.addEventListener('click', onClick)
}
