/** What a team sets before it ships. */

/** Where the gateway is; its domain has to be on the list of request domains (request 合法域名) in mp.weixin.qq.com. */
export const GATEWAY = 'https://chat.example.com'

/** Which of the gateway's models answers; "" is its first. */
export const MODEL = ''

/** What people may ask at first. */
export const SUGGESTIONS = ['打字机效果是怎么做到的？', '写一首关于雨夜的短诗', '用 Python 写一个快速排序', '比较 HTTP/1.1、HTTP/2 和 HTTP/3']
