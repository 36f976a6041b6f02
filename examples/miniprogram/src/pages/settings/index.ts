/** What can be set: the gateway in development builds, and what is kept, in all. */

import type { Program } from '../../app'
import { createSession, erase } from '../../chat/session'
import { faultOf, readSettings, writeSettings } from '../../chat/settings'

const { store, isDevelopment } = getApp<Program>()

Page({
  data: { isDevelopment, ...readSettings(wx, isDevelopment), fault: '', version: '' },

  onLoad() {
    const { miniProgram } = wx.getAccountInfoSync()
    this.setData({ version: miniProgram.version || '开发版' })
  },

  onSave() {
    const { gateway, token, model } = this.data
    const fault = faultOf(gateway)
    this.setData({ fault })
    if (fault) return
    writeSettings(wx, { gateway, token, model })
    void wx.showToast({ title: '已保存', icon: 'none' })
    setTimeout(() => wx.navigateBack(), 600)
  },

  onClear() {
    wx.showModal({
      title: '清空所有对话？',
      content: '手机上的对话，和网关为断线保留的回答，都会删除，无法找回。',
      confirmText: '清空',
      confirmColor: '#b5382a',
      success: ({ confirm }) => {
        if (!confirm) return
        store.clear()
        const settings = readSettings(wx, isDevelopment)
        erase(wx, settings.gateway, createSession(wx, settings)).then(
          () => wx.showToast({ title: '已清空', icon: 'none' }),
          () => wx.showToast({ title: '手机上已清空；网关没有回应，它保留的回答一天后自动删除', icon: 'none', duration: 4000 }),
        )
      },
    })
  },
})
