/** The conversations that are kept on this phone. */

import type { Program } from '../../app'
import { tellTime } from '../../chat/words'

const { store } = getApp<Program>()

Page({
  data: { conversations: [] as { id: string; title: string; time: string; isCurrent: boolean }[] },

  onShow() {
    this.refresh()
  },

  refresh() {
    const current = store.current()
    const conversations = store.list().map(({ id, title, changed }) => ({ id, title, time: tellTime(changed, Date.now()), isCurrent: id === current }))
    this.setData({ conversations })
  },

  onOpen(event: WechatMiniprogram.TouchEvent) {
    store.setCurrent(event.currentTarget.dataset.id)
    wx.navigateBack()
  },

  onNew() {
    store.setCurrent('')
    wx.navigateBack()
  },

  onRemove(event: WechatMiniprogram.TouchEvent) {
    const { id, title } = event.currentTarget.dataset
    wx.showModal({
      title: '删除这个对话？',
      content: title,
      confirmText: '删除',
      confirmColor: '#b5382a',
      success: ({ confirm }) => {
        if (!confirm) return
        store.remove(id)
        if (store.current() === id) store.setCurrent('')
        this.refresh()
      },
    })
  },

  onSettings() {
    wx.navigateTo({ url: '/pages/settings/index' })
  },
})
