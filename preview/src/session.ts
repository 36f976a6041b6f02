/** What the preview's server tells its page. */
export interface Session {
  /** Names of the folders that are served. */
  apps: string[]
  gateway: string
  /** Whether `wx.login` has a WeChat to ask. */
  hasWeChat: boolean
}
