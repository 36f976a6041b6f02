/** What people are told: each code of PROTOCOL.md (4.1 and 6), of the SDK, and of this program, in words and with a remedy. */

const ERRORS: Record<string, string> = {
  upstream_unreachable: '连不上模型服务，稍等片刻再问一次。',
  upstream_rejected: '模型服务拒绝了这个请求，把问题改短一些再试。',
  upstream_unauthorized: '服务的密钥配置有误，请联系管理员。',
  upstream_rate_limited: '现在提问的人太多，稍等片刻再问一次。',
  upstream_unavailable: '模型服务暂时出错，稍等片刻再问一次。',
  upstream_redirected: '模型服务的地址有误，请联系管理员。',
  upstream_timeout: '模型太久没有回应，再问一次。',
  upstream_garbage: '模型的回答读不懂，再问一次。',
  upstream_error: '模型在回答途中出错了，再问一次。',
  truncated: '回答中途断了，上面的内容不完整，再问一次。',
  too_long: '回答超过了长度上限，请把问题拆小。',
  time_limit: '回答用时超过了上限，请把问题拆小。',
  token_limit: '回答超过了用量上限，请把问题拆小。',
  queue_timeout: '排队太久，没有轮到，稍等片刻再问一次。',
  abandoned: '离开太久，回答已停止，上面的内容不完整，再问一次。',
  producer_lost: '写这个回答的服务停了，上面的内容不完整，再问一次。',
  prompt_refused: '这个问题没有通过内容审核，请换个问法。',
  safety_unavailable: '内容审核暂时没有回应，稍等片刻再问一次。',
  store_lost: '一部分回答没有存下来，再问一次。',
  internal: '服务内部出错了，再问一次。',
  unauthorized: '没有登录，或令牌不对。开发时请在设置里检查令牌。',
  session_expired: '登录已过期，再问一次就会重新登录。',
  login_failed: '微信登录没有成功，检查网络后再问一次。',
  wechat_bad_code: '微信登录码已失效，再问一次。',
  wechat_rate_limited: '登录太频繁了，过一会儿再问。',
  wechat_blocked: '微信判定这个账号有风险，暂时不能使用。',
  wechat_user_absent: '登录已过期，重新打开小程序后再试。',
  wechat_misconfigured: '服务的小程序配置有误，请联系管理员。',
  wechat_unavailable: '微信暂时没有回应，稍等片刻再问一次。',
  forbidden_host: '服务不允许用这个地址访问，请联系管理员。',
  forbidden_origin: '服务不允许这个来源访问，请联系管理员。',
  forbidden_referer: '服务只接受来自本小程序的登录，请联系管理员。',
  admin_closed: '这个功能没有开放。',
  not_found: '这个回答已经不在服务器上了（服务重启过，或已过期）。上面是已收到的部分，需要的话再问一次。',
  unknown_model: '没有这个模型，请在设置里换一个。',
  method_not_allowed: '服务不接受这样的请求，请检查网关地址。',
  bad_json: '请求没有被理解，再问一次。',
  bad_position: '接续的位置不对，再问一次。',
  bad_option: '网关的版本与小程序不符，请更新。',
  bad_idempotency_key: '请求没有被理解，再问一次。',
  unsupported_media_type: '请求没有被理解，再问一次。',
  unknown_field: '网关的版本与小程序不符，请更新。',
  invalid_field: '请求里有网关不接受的内容，请新建对话再试。',
  body_too_large: '对话太长了，请新建对话。',
  idempotency_conflict: '这个问题的编号已被别的问题用过，再问一次。',
  not_possible: '服务没有开启这个功能。',
  shutting_down: '服务正在重启，稍等片刻再问一次。',
  too_many_starts: '你问得太快了，歇一会儿再问。',
  too_many_running: '同时进行的回答太多，等其中一个结束再问。',
  queue_full: '排队的人太多，稍等片刻再问一次。',
  tokens_used_up: '今天的用量已经用完，明天再来。',
  too_many_generations: '服务正忙，稍等片刻再问一次。',
  too_many_probes: '服务正忙，稍等片刻再试。',
  log_full: '服务的存储满了，稍等片刻再问一次。',
  store_unavailable: '服务的存储暂时连不上，稍等片刻再问一次。',
  owner_limit: '你正在进行的回答太多，等其中一个结束再问。',
  memory_limit: '服务正忙，稍等片刻再问一次。',
  issuer_unavailable: '登录服务暂时没有回应，稍等片刻再问一次。',
  connection_lost: '网络断开了。回答还在服务器上写着，重新连接就能接着看。',
}

const FINISHES: Record<string, string> = {
  length: '已达长度上限',
  content_filter: '部分内容未通过审核',
  tool_calls: '等待工具结果',
}

export function tellError(code: string): string {
  return ERRORS[code] || `出了点问题（${code}），再问一次。`
}

/** What a tap does about trouble: ask again, take up the answer again, change the question, begin anew. */
export type Remedy = 'again' | 'resume' | 'edit' | 'new'

const REMEDIES: Record<Remedy, { word: string; codes: string[] }> = {
  resume: { word: '重新连接', codes: ['connection_lost'] },
  edit: { word: '改一改', codes: ['prompt_refused', 'upstream_rejected', 'too_long', 'time_limit', 'token_limit'] },
  new: { word: '新对话', codes: ['body_too_large', 'invalid_field'] },
  again: { word: '再问一次', codes: [] },
}

// What will be refused again, until it is another day or somebody mends the gateway.
const HOPELESS = ['tokens_used_up', 'upstream_unauthorized', 'upstream_redirected', 'wechat_misconfigured', 'forbidden_host', 'forbidden_origin', 'forbidden_referer']

/** What a tap can do about trouble, and its word; '' where nothing helps. */
export function tellRemedy(code: string): { remedy: Remedy | ''; word: string } {
  if (HOPELESS.includes(code)) return { remedy: '', word: '' }
  const names = Object.keys(REMEDIES) as Remedy[] // its own keys
  const remedy = names.find((name) => REMEDIES[name].codes.includes(code)) || 'again'
  return { remedy, word: REMEDIES[remedy].word }
}

export function tellFinish(finish: string): string {
  return FINISHES[finish] || ''
}

/** When, as people say it. */
export function tellTime(at: number, now: number): string {
  const [date, today] = [new Date(at), new Date(now)]
  const minutes = `${date.getHours()}:${String(date.getMinutes()).padStart(2, '0')}`
  const days = Math.round((startOfDay(today) - startOfDay(date)) / 86_400_000)
  if (days <= 0) return minutes
  if (days === 1) return `昨天 ${minutes}`
  const day = `${date.getMonth() + 1}月${date.getDate()}日`
  return date.getFullYear() === today.getFullYear() ? day : `${date.getFullYear()}年${day}`
}

function startOfDay(date: Date): number {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime()
}
