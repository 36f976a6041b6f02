/** The chat: a conversation on the screen, and the answer that is on its way. */

import { createWxPlatform } from 'dazi/platform/wx'
import type { Program } from '../../app'
import { createAnswering, newsOf, type Answering, type News } from '../../chat/answering'
import { answered, asked, askedAgain, begin, lastAnswer, promptOf, randomId, type Conversation } from '../../chat/conversation'
import { createSession } from '../../chat/session'
import { readSettings } from '../../chat/settings'
import type { Flight } from '../../chat/store'
import type { Remedy } from '../../chat/words'
import type { DaziMessage } from '../../components/dazi-message/index'
import { SUGGESTIONS } from '../../config'
import { bubbleOf, standingOf, type Bubble } from './bubble'
import { createScrolling, type Scrolling } from './scrolling'

const { store, isDevelopment } = getApp<Program>()

// What is put behind an answer that is copied: the rules of 2025 want the label to go along.
const COPIED_LABEL = '\n\n（以上内容由 AI 生成）'

// So many messages are drawn at first, and so many more each time that somebody asks for earlier ones.
const DRAWN_AT_ONCE = 20

// A conversation that was left longer ago than this is not opened by itself when the program is launched.
const RECENT_MILLISECONDS = 3_600_000

const LINES: Record<string, string> = { connecting: '正在连接…', paused: '网络断开，正在接上…' }
const OFFLINE_LINE = '网络断开了，恢复后接着写…'

Page({
  data: {
    messages: [] as Bubble[],
    hasEarlier: false,
    title: '',
    draft: '',
    isWriting: false, // the keyboard is asked for
    isBusy: false,
    line: '', // what there is to say of the connection
    isAway: false, // from the end
    keyboard: 0, // its height
    suggestions: SUGGESTIONS,
  },

  conversation: begin(randomId(), Date.now()) as Conversation,
  answering: undefined as Answering | undefined,
  settings: '', // with which `answering` was made
  scrolling: undefined as Scrolling | undefined,
  scroller: undefined as WechatMiniprogram.ScrollViewContext | undefined,
  listHeight: 0,
  wasShown: false,
  isOffline: false,
  status: '', // of the answer's connection
  unlisten() {},

  onLoad() {
    this.scrolling = createScrolling(
      (top) => this.scroller && this.scroller.scrollTo({ top, animated: false }),
      (isAway) => this.setData({ isAway }),
    )
    const keep = () => this.answering?.keep()
    const comeBack = () => this.comeBack()
    // As wide as the typings have it of a listener that is taken off.
    const hearOfNetwork = ({ isConnected }: { isConnected?: boolean; errMsg?: string }) => {
      this.isOffline = !isConnected
      this.tellLine()
      if (isConnected) this.comeBack()
    }
    wx.onAppHide(keep)
    wx.onAppShow(comeBack)
    wx.onNetworkStatusChange(hearOfNetwork)
    this.unlisten = () => {
      wx.offAppHide(keep)
      wx.offAppShow(comeBack)
      wx.offNetworkStatusChange(hearOfNetwork)
    }
  },

  onReady() {
    const query = this.createSelectorQuery()
    // The cast: what a scroll-view has for a node.
    query.select('#list').node(({ node }) => (this.scroller = node as WechatMiniprogram.ScrollViewContext))
    query.select('#list').boundingClientRect((found) => (this.listHeight = found.height))
    query.exec(() => this.follow())
  },

  onShow() {
    const settings = JSON.stringify(readSettings(wx, isDevelopment))
    if (settings !== this.settings) this.connect(settings)
    if (!this.wasShown) this.launch()
    this.openCurrent()
    this.dropRemoved()
  },

  /** Another conversation may have been chosen, or this one deleted. */
  openCurrent() {
    const id = store.current()
    if (id === this.conversation.id) return
    const kept = store.read(id)
    if (kept) this.open(kept)
    else if (this.conversation.messages.length) this.open(begin(randomId(), Date.now()))
  },

  /** Nothing is meant yet: what was on the screen last is opened if it is recent, or still being answered. */
  launch() {
    this.wasShown = true
    const kept = store.read(store.current())
    const isOpened = kept && (Date.now() - kept.changed < RECENT_MILLISECONDS || store.flight(kept.id))
    if (!isOpened) store.setCurrent('')
  },

  /** The answer to a conversation that was deleted meanwhile is wanted by nobody. */
  dropRemoved() {
    const flight = this.answering && this.answering.flight()
    if (this.answering && flight && !store.read(flight.conversation)) this.answering.stop()
  },

  onUnload() {
    this.answering?.keep()
    this.unlisten()
  },

  connect(settings: string) {
    if (this.answering) this.answering.stop()
    this.settings = settings
    const { gateway, token, model } = readSettings(wx, isDevelopment)
    this.answering = createAnswering({
      gateway, model, store,
      platform: createWxPlatform(wx),
      session: createSession(wx, { gateway, token }),
      onNews: (flight, news, status) => this.hear(flight, news, status),
      onEnd: (flight, news) => this.end(flight, news),
    })
  },

  /** Put a conversation on the screen, and go on with its answer. */
  open(conversation: Conversation) {
    this.conversation = conversation
    store.setCurrent(conversation.id)
    const messages = conversation.messages.slice(-DRAWN_AT_ONCE)
    const hasEarlier = messages.length < conversation.messages.length
    const isBusy = lastAnswer(conversation)?.state === 'answering'
    this.setData({ messages: messages.map(bubbleOf), hasEarlier, title: conversation.title, isBusy, line: '' }, () => {
      if (this.scrolling) this.scrolling.toEnd()
      this.resume()
    })
  },

  /** Take up the answer that was on its way here, in this life of the program or an earlier one. */
  resume() {
    const { answering, conversation } = this
    const answer = lastAnswer(conversation)
    if (!answering || !answer) return
    const running = answering.flight()
    const flight = running && running.conversation === conversation.id ? running : store.flight(conversation.id)
    if (flight && flight.message === answer.id) {
      this.show(flight, newsOf(flight.answer))
      if (flight !== running) this.setAnswering(() => answering.resume(flight))
    } else if (answer.state === 'answering') this.settle(answer.id, { text: answer.text, state: 'failed', code: 'not_found' })
  },

  /** There may be a line again: what only the line had lost goes on by itself. */
  comeBack() {
    if (lastAnswer(this.conversation)?.code === 'connection_lost') this.resume()
  },

  /** The last answer is being written (again), says the screen. */
  setAnswering(then: () => void) {
    const answer = lastAnswer(this.conversation)
    if (!answer) return
    this.conversation = answered(this.conversation, answer.id, { state: 'answering', code: '' }, Date.now())
    this.setData({ ...this.patchOf(answer.id), isBusy: true }, then)
  },

  onSend() {
    const question = this.data.draft.trim()
    if (question && !this.data.isBusy) this.ask(asked(this.conversation, question, Date.now()))
  },

  onSuggestion(event: WechatMiniprogram.TouchEvent) {
    this.ask(asked(this.conversation, event.currentTarget.dataset.text, Date.now()))
  },

  onAgain() {
    if (!this.data.isBusy) this.ask(askedAgain(this.conversation, Date.now()))
  },

  ask(conversation: Conversation) {
    const answer = lastAnswer(conversation)
    const { answering } = this
    if (!answer || !answering) return
    // Asked again, only the last answer is another one. What stands is not sent again.
    const isAgain = conversation.messages.length === this.conversation.messages.length
    const from = this.data.messages.length - (isAgain ? 1 : 0)
    const patch: Record<string, Bubble> = {}
    conversation.messages.slice(isAgain ? -1 : -2).forEach((message, index) => (patch[`messages[${from + index}]`] = bubbleOf(message)))
    this.conversation = conversation
    store.write(conversation)
    store.setCurrent(conversation.id)
    this.setData({ ...patch, title: conversation.title, draft: '', isBusy: true, line: '' }, () => {
      const bubble = this.componentOf(answer.id)
      if (bubble) bubble.type({ text: '' })
      if (this.scrolling) this.scrolling.toEnd()
      answering.ask(conversation.id, answer.id, promptOf(conversation))
    })
  },

  onStop() {
    if (this.answering) this.answering.stop()
  },

  onRemedy(event: WechatMiniprogram.TouchEvent) {
    const remedies: Record<Remedy, () => void> = {
      resume: () => this.resume(),
      edit: () => this.edit(),
      new: () => this.onNew(),
      again: () => this.onAgain(),
    }
    const remedy: Remedy = event.currentTarget.dataset.remedy
    remedies[remedy]()
  },

  /** Write the last question anew. */
  edit() {
    const question = this.conversation.messages[this.conversation.messages.length - 2]
    this.setData({ draft: question.text, isWriting: true })
  },

  onBlur() {
    if (this.data.isWriting) this.setData({ isWriting: false })
  },

  hear(flight: Flight, news: News, status: string) {
    if (flight.conversation !== this.conversation.id) return
    const bubble = this.componentOf(flight.message)
    if (bubble) bubble.type(news)
    this.status = status
    this.tellLine()
  },

  /** How the line is that the answer comes by. */
  tellLine() {
    const line = this.isOffline ? OFFLINE_LINE : LINES[this.status] || ''
    if (line !== this.data.line) this.setData({ line })
  },

  end(flight: Flight, news: News) {
    if (flight.conversation === this.conversation.id) return this.settle(flight.message, news)
    const elsewhere = store.read(flight.conversation)
    if (elsewhere) store.write(answered(elsewhere, flight.message, news, Date.now()))
  },

  settle(id: string, news: News) {
    this.conversation = answered(this.conversation, id, news, Date.now())
    if (store.read(this.conversation.id)) store.write(this.conversation) // else it was deleted meanwhile
    const bubble = this.componentOf(id)
    if (bubble) bubble.type({ ...news, done: true })
    this.setData({ ...this.patchOf(id), isBusy: false, line: '' }, () => this.follow())
  },

  /** What an earlier life has typed is not typed again. */
  show(flight: Flight, news: News) {
    const bubble = this.componentOf(flight.message)
    if (!bubble) return
    bubble.type(news)
    bubble.flush()
  },

  /** What changed of a message but what it says. */
  patchOf(id: string): Record<string, unknown> {
    const at = this.data.messages.findIndex((message) => message.id === id)
    const message = this.conversation.messages.find((one) => one.id === id)
    if (at < 0 || !message) return {}
    const patch: Record<string, unknown> = {}
    const before: object = this.data.messages[at]
    for (const [name, value] of Object.entries(standingOf(message))) {
      if (JSON.stringify(value) !== JSON.stringify(Reflect.get(before, name))) patch[`messages[${at}].${name}`] = value
    }
    return patch
  },

  componentOf(id: string): DaziMessage | null {
    const found: object | null = this.selectComponent(`#answer-${id}`)
    return found as DaziMessage | null // what the template has there
  },

  /** What was the first stays where it is seen. */
  onEarlier() {
    const [{ id, isQuestion }] = this.data.messages
    const messages = this.conversation.messages.slice(-this.data.messages.length - DRAWN_AT_ONCE)
    const hasEarlier = messages.length < this.conversation.messages.length
    this.setData({ messages: messages.map(bubbleOf), hasEarlier }, () => {
      if (this.scroller) this.scroller.scrollIntoView(`#${isQuestion ? 'question' : 'answer'}-${id}`, { animated: false })
    })
  },

  onNew() {
    if (this.conversation.messages.length) this.open(begin(randomId(), Date.now()))
  },

  onHistory() {
    wx.navigateTo({ url: '/pages/history/index' })
  },

  onCopy(event: WechatMiniprogram.TouchEvent) {
    const message = this.conversation.messages.find(({ id }) => id === event.currentTarget.dataset.id)
    if (!message) return
    const label = message.role === 'assistant' ? COPIED_LABEL : ''
    wx.setClipboardData({ data: message.text + label, success: () => void wx.showToast({ title: '已复制', icon: 'none' }) })
  },

  onCopied() {
    void wx.showToast({ title: '已复制', icon: 'none' })
  },

  onLink(event: WechatMiniprogram.CustomEvent<{ href: string }>) {
    // A mini program opens no pages of the web.
    wx.setClipboardData({ data: event.detail.href, success: () => void wx.showToast({ title: '链接已复制', icon: 'none' }) })
  },

  onScroll(event: WechatMiniprogram.ScrollViewScroll) {
    if (this.scrolling) this.scrolling.scrolled(event.detail, this.listHeight)
  },

  onEnd() {
    if (this.scrolling) this.scrolling.toEnd()
  },

  /** The list has grown, or become less high. */
  follow() {
    if (this.scrolling) this.scrolling.grow()
  },

  onKeyboard(event: WechatMiniprogram.TextareaKeyboardHeightChange) {
    this.setData({ keyboard: event.detail.height }, () => this.measure())
  },

  onLines() {
    this.measure()
  },

  measure() {
    const query = this.createSelectorQuery()
    query.select('#list').boundingClientRect((found) => (this.listHeight = found.height))
    query.exec(() => this.follow())
  },
})
