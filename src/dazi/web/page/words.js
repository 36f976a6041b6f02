/**
 * What the page says, in Chinese and English.
 *
 * Laws: both languages have every word; an error is told by its code: what happened, then what to do.
 */

import { kept } from "./history.js";

const WORDS = {
  zh: {
    title: "打字 Dazi",
    new: "新对话",
    menu: "菜单",
    model: "模型",
    language: "语言",
    signOut: "退出登录",
    placeholder: "问点什么…",
    question: "你的问题",
    send: "发送",
    stop: "停止",
    copy: "复制",
    copied: "已复制",
    again: "再问一次",
    latest: "回到最新",
    log: "对话",
    welcome: "想聊点什么？",
    promise: "回答一字一字地写出来。断网、刷新，都不会丢一个字。",
    made: "AI 生成",
    caution: "AI 生成的内容可能有误，请自行核实。",
    thinking: "正在思考…",
    thought: "思考过程",
    tool: "调用工具",
    connecting: "正在连接…",
    streaming: "正在回答",
    streamingKeys: "正在回答 · Esc 停止",
    paused: "网络断开，正在接上…",
    polling: "正在回答 · 轮询",
    finished: "回答完毕",
    stopped: "已停止",
    length: "已达长度上限",
    content_filter: "未通过内容审核，已停止",
    tool_calls: "等待工具结果",
    withdrawn: "前面的内容已被撤回",
    tokens: "{count} 个 token",
    tiny: "smollm2 只有 1.35 亿参数，只会英文。",
    tryDemo: "试试中文演示",
    cleared: "已开始新对话",
    undo: "撤销",
    keyTitle: "需要密钥",
    keyAsk: "请输入这个网关的 API key。它只换成一个登录 cookie，不会保存在页面里。",
    key: "API key",
    signIn: "进入",
    cancel: "取消",
    keyWrong: "密钥不对，请检查后再试。",
    keyTrouble: "网关没有回应，请稍后再试。",
    noModels: "没有取到模型列表",
  },
  en: {
    title: "Dazi 打字",
    new: "New conversation",
    menu: "Menu",
    model: "Model",
    language: "Language",
    signOut: "Log out",
    placeholder: "Ask anything…",
    question: "Your question",
    send: "Send",
    stop: "Stop",
    copy: "Copy",
    copied: "Copied",
    again: "Ask again",
    latest: "Jump to latest",
    log: "Conversation",
    welcome: "What would you like to know?",
    promise: "Answers are typed out as they are written. Drop the line, reload the page: not a character is lost.",
    made: "AI-generated",
    caution: "AI can be wrong. Check what matters.",
    thinking: "Thinking…",
    thought: "Reasoning",
    tool: "Tool call",
    connecting: "Connecting…",
    streaming: "Answering",
    streamingKeys: "Answering · Esc stops",
    paused: "Connection lost, re-attaching…",
    polling: "Answering · by polling",
    finished: "Answer complete",
    stopped: "Stopped",
    length: "Length limit reached",
    content_filter: "Stopped by the content check",
    tool_calls: "Waits for a tool's result",
    withdrawn: "What stood here before was withdrawn",
    tokens: "{count} tokens",
    tiny: "smollm2 is a tiny 135M model and speaks English only.",
    tryDemo: "Try the Chinese demo",
    cleared: "New conversation",
    undo: "Undo",
    keyTitle: "A key is needed",
    keyAsk: "Enter an API key of this gateway. It is exchanged for a login cookie and not kept in the page.",
    key: "API key",
    signIn: "Enter",
    cancel: "Cancel",
    keyWrong: "That key is not right. Check it and try again.",
    keyTrouble: "The gateway did not answer. Try again in a moment.",
    noModels: "No list of models",
  },
};

const SAMPLES = {
  zh: ["用三句话解释什么是 SSE", "写一首关于雨夜的短诗", "用 Python 写一个快速排序", "比较 HTTP/1.1、HTTP/2 和 HTTP/3"],
  en: [
    "Why is the sky blue?",
    "Write a short poem about rain at night",
    "Explain what a server-sent event is",
    "Give me three ideas for a quiet weekend",
  ],
};

/** Every code of PROTOCOL.md (4.1 and 6), and the page's own. */
const ERRORS = {
  zh: {
    upstream_unreachable: "连不上模型服务。请确认它在运行，再问一次。",
    upstream_rejected: "模型服务拒绝了这个请求。换个模型，或把问题改短一些。",
    upstream_unauthorized: "网关访问模型的密钥不对。请让管理员检查设置。",
    upstream_rate_limited: "模型太忙了。稍等片刻再问一次。",
    upstream_unavailable: "模型服务暂时出错。稍等片刻再问一次。",
    upstream_redirected: "模型服务的地址不对（它要求跳转）。请让管理员检查设置。",
    upstream_timeout: "模型太久没有回应。再问一次。",
    upstream_garbage: "模型服务的回答读不懂。再问一次。",
    upstream_error: "模型在回答途中出错了。再问一次。",
    truncated: "模型的回答中途断了，上面的内容不完整。再问一次。",
    too_long: "回答超过了网关的长度上限。请把问题拆小。",
    time_limit: "回答用时超过了网关的上限。请把问题拆小。",
    producer_lost: "生成回答的服务停了，上面的内容不完整。再问一次。",
    prompt_refused: "这个问题没有通过内容审核。请换个问法。",
    safety_unavailable: "内容审核暂时没有回应。稍等片刻再问一次。",
    store_lost: "一部分回答没有存下来。再问一次。",
    internal: "网关内部出错了。再问一次；若仍出错，请看网关日志。",
    unauthorized: "需要密钥才能提问。再问一次并输入密钥。",
    forbidden_host: "网关不允许用这个地址访问。请让管理员把它加进 DAZI_HOSTS。",
    forbidden_origin: "网关不允许这个来源访问。请让管理员检查设置。",
    not_found: "没有找到。请刷新页面再试。",
    unknown_model: "没有这个模型。请换一个模型再问。",
    body_too_large: "对话太长，超过了网关的上限。请开始新对话。",
    idempotency_conflict: "这个问题的编号已被别的问题用过。再问一次。",
    shutting_down: "网关正在重启。稍等片刻再问一次。",
    token_limit: "回答超过了网关的 token 上限。请把问题拆小。",
    queue_timeout: "排队太久，还没轮到。稍等片刻再问一次。",
    abandoned: "太久没有人看这个回答，已停止。再问一次。",
    too_many_starts: "你问得太快了。过一会儿再问。",
    too_many_running: "同时进行的回答已到上限。等其中一个结束再问。",
    queue_full: "排队的人太多了。稍等片刻再问一次。",
    tokens_used_up: "今天的额度用完了。明天再来。",
    issuer_unavailable: "暂时无法确认你的身份。稍等片刻再问一次。",
    too_many_generations: "网关同时回答的问题太多。稍等片刻再问一次。",
    log_full: "网关的存储满了。稍等片刻再问一次。",
    owner_limit: "你正在进行的回答太长了。等其中一个结束再问。",
    memory_limit: "网关正在进行的回答太长了。稍等片刻再问一次。",
    expired: "这个回答已过期，网关上没有了。上面是已收到的部分；需要的话再问一次。",
    too_large: "网关发来的数据过大。请开始新对话。",
    unsent: "问题没有送达。再问一次。",
    other: "出了点问题（{code}）。再问一次。",
  },
  en: {
    upstream_unreachable: "The model's server cannot be reached. See that it runs, then ask again.",
    upstream_rejected: "The model's server refused this request. Try another model or a shorter question.",
    upstream_unauthorized: "The gateway's key for the model is wrong. Ask its administrator to check the settings.",
    upstream_rate_limited: "The model is too busy. Wait a moment and ask again.",
    upstream_unavailable: "The model's server has a fault. Wait a moment and ask again.",
    upstream_redirected: "The model's address is wrong (it redirects). Ask the administrator to check the settings.",
    upstream_timeout: "The model took too long. Ask again.",
    upstream_garbage: "The model's server sent something unreadable. Ask again.",
    upstream_error: "The model failed while answering. Ask again.",
    truncated: "The model's answer broke off; what you see is incomplete. Ask again.",
    too_long: "The answer grew past the gateway's limit. Ask for less at a time.",
    time_limit: "The answer took longer than the gateway allows. Ask for less at a time.",
    producer_lost: "The process that wrote this answer stopped; what you see is incomplete. Ask again.",
    prompt_refused: "This question did not pass the content check. Ask in another way.",
    safety_unavailable: "The content check does not answer. Wait a moment and ask again.",
    store_lost: "A part of the answer could not be stored. Ask again.",
    internal: "A fault in the gateway. Ask again; if it stays, look at the gateway's log.",
    unauthorized: "Asking needs a key. Ask again and enter one.",
    forbidden_host: "The gateway does not serve this address. Ask the administrator to add it to DAZI_HOSTS.",
    forbidden_origin: "The gateway does not accept this origin. Ask the administrator to check the settings.",
    not_found: "Not found. Reload the page and try again.",
    unknown_model: "There is no such model. Choose another and ask again.",
    body_too_large: "The conversation is larger than the gateway accepts. Start a new one.",
    idempotency_conflict: "This question's key was used for another one. Ask again.",
    shutting_down: "The gateway is restarting. Wait a moment and ask again.",
    token_limit: "The answer grew past the gateway's limit of tokens. Ask for less at a time.",
    queue_timeout: "The line is long, and your turn did not come. Wait a moment and ask again.",
    abandoned: "Nobody read this answer for a while, so it was stopped. Ask again.",
    too_many_starts: "You are asking too fast. Ask again in a while.",
    too_many_running: "As many answers are being written as may be. Ask again when one has ended.",
    queue_full: "Too many are waiting. Wait a moment and ask again.",
    tokens_used_up: "Today's allowance is used up. Come back tomorrow.",
    issuer_unavailable: "Who you are cannot be checked now. Wait a moment and ask again.",
    too_many_generations: "The gateway is answering too many questions. Wait a moment and ask again.",
    log_full: "The gateway's store is full. Wait a moment and ask again.",
    owner_limit: "Your running answers are too long together. Ask again when one has ended.",
    memory_limit: "All running answers are too long together. Wait a moment and ask again.",
    expired: "This answer has expired on the gateway. What was received stands above; ask again if you need it.",
    too_large: "The gateway sent too much at once. Start a new conversation.",
    unsent: "The question did not get through. Ask again.",
    other: "Something went wrong ({code}). Ask again.",
  },
};

let language = kept("language") || (/^zh/i.test(navigator.language) ? "zh" : "en");

/** The language the page speaks: `zh` or `en`. */
export const spoken = () => language;

/** Returns a word, with `{name}` filled in from `facts`. */
export function t(word, facts = {}) {
  return fill(WORDS[language][word] ?? word, facts);
}

/** Says in a sentence what an error code means and what to do. */
export function tellError(code) {
  return fill(ERRORS[language][code] || ERRORS[language].other, { code });
}

export const samples = (tongue = language) => SAMPLES[tongue];

function fill(text, facts) {
  return text.replace(/\{(\w+)\}/g, (all, name) => facts[name] ?? all);
}

/** Makes the page speak a language. */
export function speak(next = language) {
  language = next;
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = t("title");
  tellAgain(document);
}

/** Puts its word into every element that names one: `data-word`, `data-word-label`, `data-word-placeholder`, `data-error`. */
export function tellAgain(root) {
  for (const [attribute, tell] of Object.entries(TELLERS)) {
    for (const element of root.querySelectorAll(`[${attribute}]`)) tell(element, element.getAttribute(attribute));
  }
}

const TELLERS = {
  "data-word": (element, word) => (element.textContent = t(word, element.dataset)),
  "data-word-label": (element, word) => label(element, t(word)),
  "data-word-placeholder": (element, word) => (element.placeholder = t(word)),
  "data-error": (element, code) => (element.textContent = tellError(code)),
};

function label(element, word) {
  element.setAttribute("aria-label", word);
  if (element.matches("button, summary, select")) element.title = word;
}
