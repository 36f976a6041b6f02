/** The panel's words, in the browser's language. */

const WORDS = {
  app: ['Program', '小程序'],
  profile: ['Phone', '机型'],
  cut: ['Chunks are cut', '分块方式'],
  speed: ['Clock ×', '时钟 ×'],
  user: ['User', '用户'],
  background: ['To the background', '切到后台'],
  foreground: ['Back to the foreground', '回到前台'],
  lock: ['Lock for 10 s', '锁屏 10 秒'],
  offline: ['Lose the network', '断网'],
  online: ['Network is back', '恢复网络'],
  dark: ['Dark', '深色'],
  light: ['Light', '浅色'],
  keyboard: ['Keyboard', '键盘'],
  restart: ['Restart', '重新启动'],
  clear: ['Clear storage', '清空存储'],
  requests: ['Requests', '请求'],
  events: ['Events', '事件'],
  hidden: ['in the background', '在后台'],
  nothing: ['nothing yet', '暂无'],
  bytes: ['bytes', '字节'],
  chunks: ['chunks', '块'],
  calls: ['setData', 'setData'],
  most: ['most in a second', '每秒最多'],
  missing: ['Not in this preview', '预览未实现'],
  built: ['Package', '包大小'],
} as const

export type Word = keyof typeof WORDS

export function word(name: Word): string {
  return WORDS[name][navigator.language.startsWith('zh') ? 1 : 0]
}
