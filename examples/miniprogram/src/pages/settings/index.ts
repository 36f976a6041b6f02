/** What can be set: the gateway in development builds, and what is kept, in all. */

import type { Program } from '../../app'
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
      content: '对话只存在这部手机上，清空后无法找回。',
      confirmText: '清空',
      confirmColor: '#b5382a',
      success: ({ confirm }) => {
        if (!confirm) return
        store.clear()
        void wx.showToast({ title: '已清空', icon: 'none' })
      },
    })
  },
})
