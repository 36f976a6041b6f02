// Built from sdk/src by "npm run page" in sdk/; change it there.

// src/answer.ts
var EMPTY = { text: "", reasoning: "", toolCalls: [], model: "", isRetracted: false };
var FOLDS = {
  started: (answer, event) => ({ ...answer, model: event.model || "" }),
  text: (answer, event) => ({ ...answer, text: answer.text + event.text }),
  reasoning: (answer, event) => ({ ...answer, reasoning: answer.reasoning + event.text }),
  retract: (answer, event) => ({ ...answer, text: event.text || "", isRetracted: true }),
  snapshot: (answer, { text = "", reasoning, tool_calls = [], model = answer.model }) => ({ ...answer, text, reasoning: reasoning || "", toolCalls: tool_calls, model }),
  tool_call: (answer, event) => ({ ...answer, toolCalls: withPiece(answer.toolCalls, event) })
};
function fold(answer, event) {
  const step = FOLDS[event.type];
  return step ? step(answer, event) : answer;
}
function withPiece(calls, event) {
  const index = event.index || 0;
  const before = calls.find((call2) => call2.index === index) || { index, arguments: "" };
  const call = { ...before, arguments: before.arguments + (event.arguments || "") };
  if (event.call_id !== void 0) call.call_id = event.call_id;
  if (event.name !== void 0) call.name = event.name;
  return [...calls.filter((other) => other.index !== index), call].sort((a, b) => a.index - b.index);
}
function isEnd(event) {
  return event.type === "done" || event.type === "failed" || event.type === "aborted";
}
function isProven(answer, event) {
  const part = event.type === "reasoning" ? answer.reasoning : answer.text;
  if (event.n !== void 0 && event.n !== part.length) return false;
  if (event.crc32 === void 0) return true;
  try {
    return event.crc32 === crc32(answer.text);
  } catch {
    return false;
  }
}
function crc32(text) {
  let crc = -1;
  for (const byte of encodeURIComponent(text).match(/%..|./g) || []) {
    crc ^= byte[1] ? parseInt(byte.slice(1), 16) : byte.charCodeAt(0);
    for (let bit = 0; bit < 8; bit++) crc = crc >>> 1 ^ (crc & 1 && 3988292384);
  }
  return ~crc >>> 0;
}

// src/utf8.ts
function createUtf8Decoder() {
  return createNativeDecoder() || createPortableDecoder();
}
function createNativeDecoder() {
  try {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    const decode = (bytes) => decoder.decode(bytes, { stream: true });
    const end = () => decoder.decode();
    if (decode(PROBE.subarray(0, 4)) + "|" + decode(PROBE.subarray(4)) + end() === "\uFEFF|你��A") return { decode, end };
  } catch {
  }
}
var PROBE = new Uint8Array([239, 187, 191, 228, 189, 160, 240, 159, 224, 65]);
var BLOCK = 8192;
var UNFINISHED = /(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})$/;
var SEQUENCE = /(?!\xe0[\x80-\x9f]|\xed[\xa0-\xbf]|\xf0[\x80-\x8f]|\xf4[\x90-\xbf])(?:[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{1,2}|[\xf0-\xf4][\x80-\xbf]{1,3})|[\x80-\xff]/g;
function createPortableDecoder() {
  let held = "";
  function decodeBlock(bytes) {
    const latin = held + String.fromCharCode.apply(null, bytes);
    const unfinished = bytes[bytes.length - 1] < 128 ? null : UNFINISHED.exec(latin.slice(-3));
    held = unfinished ? unfinished[0] : "";
    return textOf(held ? latin.slice(0, -held.length) : latin);
  }
  return {
    decode(bytes) {
      let text = "";
      for (; bytes.length > BLOCK; bytes = bytes.subarray(BLOCK)) text += decodeBlock(bytes.subarray(0, BLOCK));
      return text + decodeBlock(bytes);
    },
    end() {
      const rest2 = textOf(held);
      held = "";
      return rest2;
    }
  };
}
function textOf(latin) {
  try {
    return decodeURIComponent(escape(latin));
  } catch {
    return latin.replace(SEQUENCE, characterOf);
  }
}
function characterOf(sequence) {
  try {
    return decodeURIComponent(sequence.replace(/[^]/g, (byte) => "%" + byte.charCodeAt(0).toString(16)));
  } catch {
    return "�";
  }
}

// src/sse.ts
var EventTooLarge = class extends Error {
  constructor(limit) {
    super(`An event is longer than the limit of ${limit} characters; raise it, or send smaller events.`);
    this.limit = limit;
    this.name = "EventTooLarge";
  }
};
var DEFAULT_LIMIT = 1 << 23;
var PART = 1024;
function createSseParser(limit = DEFAULT_LIMIT) {
  let decoder = createUtf8Decoder();
  let line = "";
  let lineParts = [];
  let lineLength = 0;
  let data = [];
  let held = 0;
  let type = "";
  let id = "";
  let lastId = "";
  let retry = null;
  let atStart = true;
  let afterCr = false;
  let idle = false;
  let overflowed = false;
  function feedText(text, events) {
    if (!text) return;
    if (afterCr && text[0] === "\n") text = text.slice(1);
    afterCr = text.endsWith("\r");
    if (text.indexOf("\r") >= 0) text = text.replace(/\r\n?/g, "\n");
    let at = 0;
    for (; ; ) {
      if (idle) at = feedPlainBlocks(text, at, events);
      const end = text.indexOf("\n", at);
      if (end < 0) break;
      endLine(text.slice(at, end), events);
      if (overflowed) return;
      at = end + 1;
    }
    if (at < text.length) keep(text.slice(at));
    if (held + lineLength > limit) overflow();
  }
  function keep(fragment) {
    idle = false;
    line += fragment;
    lineLength += fragment.length;
    if (line.length < PART) return;
    lineParts.push(line);
    line = "";
  }
  function feedPlainBlocks(text, at, events) {
    while (text.startsWith("data: ", at)) {
      const lf = text.indexOf("\n", at);
      if (lf < 0 || text.charCodeAt(lf + 1) !== 10 || lf - at > limit) break;
      events.push({ event: "message", data: text.slice(at + 6, lf), id, retry });
      at = lf + 2;
    }
    return at;
  }
  function endLine(rest2, events) {
    if (held + lineLength + rest2.length > limit) return overflow();
    let whole = lineLength ? lineParts.join("") + line + rest2 : rest2;
    if (lineLength) dropLine();
    if (atStart && whole.charCodeAt(0) === 65279) whole = whole.slice(1);
    atStart = false;
    idle = !whole;
    if (idle) endBlock(events);
    else takeField(whole);
  }
  function takeField(field) {
    const colon = field.indexOf(":");
    const name = colon < 0 ? field : field.slice(0, colon);
    const value = colon < 0 ? "" : field.slice(colon + (field.charCodeAt(colon + 1) === 32 ? 2 : 1));
    if (name === "data") {
      data.push(value);
      held += field.length;
    } else if (name === "event") type = value;
    else if (name === "id" && value.indexOf("\0") < 0) id = value;
    else if (name === "retry" && /^\d{1,15}$/.test(value)) retry = +value;
  }
  function endBlock(events) {
    lastId = id;
    if (held) events.push({ event: type || "message", data: data.join("\n"), id, retry });
    dropBlock();
  }
  function dropLine() {
    line = "";
    lineParts = [];
    lineLength = 0;
  }
  function dropBlock() {
    if (held) data = [];
    held = 0;
    type = "";
  }
  function overflow() {
    overflowed = true;
    dropLine();
    dropBlock();
  }
  return {
    feed(chunk) {
      const events = [];
      if (!overflowed) feedText(typeof chunk === "string" ? chunk : decoder.decode(bytesOf(chunk)), events);
      if (overflowed && !events.length) throw new EventTooLarge(limit);
      return events;
    },
    nextBody() {
      decoder = createUtf8Decoder();
      overflowed = afterCr = idle = false;
      atStart = true;
      id = lastId;
      dropLine();
      dropBlock();
    },
    lastEventId: () => lastId,
    retry: () => retry
  };
}
function textOf2(body) {
  return typeof body === "string" ? body : createUtf8Decoder().decode(bytesOf(body));
}
function bytesOf(chunk) {
  if (chunk instanceof Uint8Array) return chunk;
  return ArrayBuffer.isView(chunk) ? new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength) : new Uint8Array(chunk);
}

// src/stream.ts
var FIRST_BYTE = 5e3;
var SILENCE = 15e3;
var ANSWER = 35e3;
var POLL_GAP = 300;
var MOST_FAILURES = 10;
var LONGEST_PAUSE = 15e3;
function begin(polls, known) {
  return {
    status: "connecting",
    answer: EMPTY,
    end: null,
    generation: "",
    after: "0",
    call: "none",
    isHeard: false,
    isMoved: false,
    failures: 0,
    polls,
    isDoubted: false,
    isHidden: false,
    isAborting: false,
    ...known
  };
}
function next(state, input) {
  if (state.status === "ended" && !state.isAborting) return [state, []];
  switch (input.type) {
    case "open":
      return connect(state);
    case "heard":
      return [{ ...state, isHeard: true, status: "streaming" }, [{ type: "wake", milliseconds: SILENCE }]];
    case "event":
      return takeEvent(state, input.event, input.id);
    case "garbled":
      return doubt(state);
    case "page":
      return takePage(state, input.events, input.generation, input.next, input.status);
    case "truth":
      return takeTruth(state, input.event, input.next, input.end);
    case "aborted":
      return rest({ ...state, isAborting: false });
    case "refused":
      return refuse(state, input);
    case "lost":
      return lose({ ...state, polls: state.polls || !!input.late || isRefusedStream(state) }, input.chance);
    case "woke":
      return wake(state, input.chance);
    case "hide":
      return [{ ...state, isHidden: true }, []];
    case "show":
      return connect({ ...state, isHidden: false, failures: 0 });
    case "abort":
      return connect(ended({ ...state, isAborting: true, failures: 0 }, { type: "aborted" }));
    case "close":
      return rest({ ...state, status: "ended" });
  }
}
function connect(state) {
  if (state.isHidden) return pause(state);
  const call = dueCall(state);
  const effects = [{ type: "cancel" }, { type: "call", call }, { type: "wake", milliseconds: isStream(call) ? FIRST_BYTE : ANSWER }];
  return [{ ...state, call, status: statusOf(state), isHeard: false, isMoved: false }, effects];
}
function statusOf(state, otherwise = state.polls ? "polling" : "connecting") {
  return state.status === "ended" ? "ended" : otherwise;
}
function pause(state) {
  return rest({ ...state, status: statusOf(state, "paused") });
}
function rest(state, milliseconds) {
  const wake2 = milliseconds === void 0 ? [] : [{ type: "wake", milliseconds }];
  return [{ ...state, call: "none" }, [{ type: "cancel" }, ...wake2]];
}
function dueCall(state) {
  if (state.isAborting) return "abort";
  if (!state.generation) return state.polls ? "submit" : "start";
  if (state.isDoubted) return "read";
  return state.polls ? "poll" : "attach";
}
function isStream(call) {
  return call === "start" || call === "attach";
}
function isSilentStream(state) {
  return isStream(state.call) && !state.isHeard;
}
function isRefusedStream(state) {
  return isSilentStream(state) && state.failures >= 3;
}
function takeEvent(state, event, id) {
  if (event.type === "reconnect") return comeBack(state);
  if (event.type !== "snapshot" && isCovered(id, state.after)) return [state, []];
  const answer = fold(state.answer, event);
  if (!isProven(answer, event)) return doubt(state);
  const generation = event.type === "started" && event.generation ? event.generation : state.generation;
  const moved = { ...state, answer, generation, after: id || state.after, isMoved: true, failures: 0 };
  return isEnd(event) ? finish(moved, event) : [moved, []];
}
function comeBack(state) {
  return state.isMoved ? connect(state) : rest(state, POLL_GAP);
}
function isCovered(id, after) {
  const [epoch, position] = id.split("-");
  const [epochAfter, positionAfter] = after.split("-");
  return epoch === epochAfter && +position <= +positionAfter;
}
function takePage(state, events, generation, position, status) {
  let step = [{ ...state, generation }, []];
  for (const event of events) {
    step = takeEvent(step[0], event, "");
    if (step[0].call !== state.call) return step;
  }
  const taken = { ...step[0], after: position, failures: 0 };
  if (state.call !== "submit" && status !== "running" && !events.length) return doubt(taken);
  return rest(taken, state.call === "submit" ? 0 : POLL_GAP);
}
function takeTruth(state, event, position, end) {
  const answer = fold(state.answer, event);
  if (!isProven(answer, event)) return lose(state, 1);
  const known = { ...state, answer, after: position, isDoubted: false };
  return end ? finish(known, end) : connect(known);
}
function doubt(state) {
  const doubted = { ...state, isDoubted: true, failures: state.failures + 1 };
  return doubted.failures > MOST_FAILURES ? giveUp(doubted) : connect(doubted);
}
function finish(state, end) {
  return rest(ended(state, end));
}
function ended(state, end) {
  return { ...state, status: "ended", end: state.end || end };
}
function refuse(state, { code, message, retryable, seconds }) {
  if (retryable && (state.generation || seconds * 1e3 <= LONGEST_PAUSE)) return lose(state, 1, seconds * 1e3);
  return finish({ ...state, isAborting: false }, { type: "failed", code, message, retryable });
}
function wake(state, chance) {
  if (state.call === "none") return connect(state);
  return lose({ ...state, polls: state.polls || isSilentStream(state) }, chance);
}
function lose(state, chance, atLeast = 0) {
  if (state.isHidden) return pause(state);
  const failures = state.failures + 1;
  if (failures > MOST_FAILURES) return giveUp(state);
  const longest = failures === 1 ? 0 : Math.min(LONGEST_PAUSE, 250 * 2 ** failures);
  return rest({ ...state, failures, status: statusOf(state) }, Math.max(atLeast, longest * (0.5 + chance / 2)));
}
function giveUp(state) {
  const message = "The gateway cannot be reached; what was said stands.";
  return finish({ ...state, isAborting: false }, { type: "failed", code: "connection_lost", message, retryable: true });
}

// src/client.ts
var STREAM = "?max=50&heartbeat=5&inband=1";
var POLL_SECONDS = 20;
function createClient(options) {
  let polls = !options.platform.streams;
  let current;
  function followOnly(question, onUpdate, known) {
    if (current) current.close();
    const remember = () => polls = true;
    return current = follow(options, question, begin(polls, known), onUpdate, remember);
  }
  return {
    ask: (body, onUpdate, { key = randomKey(), replace = false } = {}) => followOnly({ body: JSON.stringify(body), key, replace }, onUpdate),
    attach(generation, onUpdate, { after = "0", ...answer } = {}) {
      return followOnly({ body: "", key: "", replace: false }, onUpdate, { generation, after, answer: { ...EMPTY, ...answer } });
    }
  };
}
function randomKey() {
  let key = Date.now().toString(36);
  while (key.length < 32) key += Math.random().toString(36).slice(2);
  return key.slice(0, 32);
}
function follow(options, question, start, onUpdate, onPolls) {
  const { platform } = options;
  let state = start;
  let told;
  let cancelCall = () => {
  };
  let cancelWake = () => {
  };
  function happen(input) {
    const [after, effects] = next(state, input);
    if (after.polls && !state.polls) onPolls();
    state = after;
    effects.forEach(act);
    if (state.status === "ended" && !state.isAborting) stopWatching();
    if (told && isSame(told, state)) return;
    told = state;
    onUpdate({ ...state.answer, status: state.status, end: state.end, generation: state.generation, after: state.after });
  }
  function act(effect) {
    if (effect.type === "call") return call(effect.call);
    cancelWake();
    if (effect.type === "cancel") cancelCall();
    else cancelWake = platform.clock.later(() => happen({ type: "woke", chance: Math.random() }), effect.milliseconds);
  }
  function call(name) {
    let isCurrent = true;
    const happenHere = (input) => {
      if (isCurrent) happen(input);
    };
    const reception = isStream(name) ? streamReception(happenHere) : answerReception(name, happenHere);
    const cancel = platform.send(requestOf(name, options, question, state), reception);
    cancelCall = () => {
      isCurrent = false;
      cancel();
    };
  }
  const stopWatching = platform.watchVisibility((visible) => happen({ type: visible ? "show" : "hide" }));
  happen({ type: "open" });
  return { abort: () => happen({ type: "abort" }), close: () => happen({ type: "close" }) };
}
function isSame(one, other) {
  return one.answer === other.answer && one.status === other.status && one.end === other.end && one.generation === other.generation;
}
function requestOf(call, { url, headers }, { body, key, replace }, state) {
  const mode = replace ? "&mode=replace" : "";
  const path = {
    start: STREAM + mode,
    submit: "",
    attach: `/events${STREAM}${mode}&after=${state.after}`,
    poll: `/events?after=${state.after}&wait=${POLL_SECONDS}${mode}`,
    read: "",
    abort: "/abort"
  }[call];
  const base = `${url}/v1/generations${state.generation && `/${state.generation}`}`;
  const accept = { ...headers, Accept: isStream(call) ? "text/event-stream" : "application/json" };
  const request = { url: base + path, streamed: isStream(call) };
  if (call === "attach" || call === "poll" || call === "read") return { ...request, method: "GET", headers: accept };
  const keyed = { ...accept, "Content-Type": "application/json", ...key && { "Idempotency-Key": key } };
  return { ...request, method: "POST", headers: keyed, body: call === "abort" ? "" : body };
}
function streamReception(happen) {
  const parser = createSseParser();
  let isEmpty = true;
  function take(chunk) {
    happen({ type: "heard" });
    for (const input of inputsOf(parser, chunk)) happen(input);
  }
  return {
    chunk(chunk) {
      isEmpty = false;
      take(chunk);
    },
    end(status, body) {
      if (status >= 400) return happen(refusalOf(status, body));
      if (status === 204) return happen({ type: "garbled" });
      if (isEmpty) take(body);
      happen({ type: "lost", late: isEmpty, chance: Math.random() });
    },
    fail: () => happen({ type: "lost", chance: Math.random() })
  };
}
function inputsOf(parser, chunk) {
  const inputs = [];
  try {
    for (const { data, id } of parser.feed(chunk)) inputs.push(inputOf(JSON.parse(data), id));
  } catch {
    inputs.push({ type: "garbled" });
  }
  return inputs;
}
function inputOf(event, id) {
  return event.type === "error" ? refusal(event, "error") : { type: "event", event, id };
}
function answerReception(name, happen) {
  return {
    chunk() {
    },
    end(status, body) {
      happen(status >= 400 ? refusalOf(status, body) : resultOf(name, body));
    },
    fail: () => happen({ type: "lost", chance: Math.random() })
  };
}
function resultOf(name, body) {
  const result = parse(body);
  if (!result) return { type: "lost", chance: Math.random() };
  if (name === "abort") return { type: "aborted" };
  if (name === "submit") return { type: "page", generation: result.generation, events: [], next: "0", status: "running" };
  if (name === "poll") return { ...result, type: "page" };
  const { status: type, error, finish_reason, usage, n, crc32: crc322 } = result;
  const end = { type, ...error, finish_reason, usage, n, crc32: crc322 };
  return { type: "truth", event: { ...result, type: "snapshot" }, next: result.next, end: isEnd({ type }) ? end : null };
}
function refusalOf(status, body) {
  const answer = parse(body);
  if (answer && answer.error) return refusal(answer.error, `http_${status}`);
  const retryable = status >= 500 || status === 429 || status === 408;
  return refusal({ message: `The gateway answered ${status}.`, retryable }, `http_${status}`);
}
function refusal({ code, message = "", retryable = false, retry_after = 0 }, otherwise) {
  return { type: "refused", code: code || otherwise, message, retryable, seconds: retry_after };
}
function parse(body) {
  try {
    return JSON.parse(textOf2(body));
  } catch {
    return void 0;
  }
}

// src/markdown/inline.ts
var NOTHING = { at: 0, spans: [] };
var STRONG = 1;
var EM = 2;
var CODE = 4;
var DEL = 8;
var NAMES = ["strong", "em", "code", "del"];
var REACH = 1e3;
var LOOKAHEAD = 16;
var SHORTEST_SPAN = 16;
var SPANS_OF_A_LENGTH = 10;
var PLAIN = /[^\\`*_~[\]!<&h]+|[^]/y;
var RUN = /`+|\*+|_+|~+/y;
var URL_HERE = /https?:\/\/[\w\-.~:/?#[\]@!$&'()*+,;=%]+/y;
var BRACKETED_URL = /<((?:https?:\/\/|mailto:)[^\s<>]*)>/y;
var TARGET = /\(\s*(?:<([^<>\n]*)>|((?:[^\s()<>\\]|\\[^]|\((?:[^\s()\\]|\\[^])*\))*))(?:\s+(?:"[^"]*"|'[^']*'))?\s*\)/y;
var BREAK = /<br *\/?>/iy;
var ENTITY = /&(amp|lt|gt|quot|nbsp|#39);/y;
var ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', nbsp: " ", "#39": "'" };
var UNFINISHED2 = /[*_~`\\!\s]/;
function readInline(source, progress, isOpen) {
  const end = isOpen ? openEnd(source) : source.length;
  const settledEnd = isOpen ? end - LOOKAHEAD : -1;
  const pieces = [];
  const openers = [];
  let settled = progress.spans;
  let settledAt = progress.at;
  let at = progress.at;
  let isSettling = true;
  function matchHere(pattern) {
    pattern.lastIndex = at;
    return pattern.exec(source);
  }
  function match(pattern) {
    const found = matchHere(pattern);
    return found && at + found[0].length <= end ? found : null;
  }
  function push(text, length, marks = 0) {
    pieces.push({ text, marks });
    at += length;
  }
  function settle() {
    const [count, until] = openers.length ? [openers[0].index, openers[0].at] : [pieces.length, at];
    if (!isSettling || !count || until > settledEnd || openers.length && openers[0].isRest) return;
    if (settled === progress.spans) settled = progress.spans.slice();
    pushPieces(settled, pieces.splice(0, count));
    for (const opener of openers) opener.index -= count;
    settledAt = until;
  }
  function takeCode2(run) {
    const close = closingRun(source, run, at + run.length, Math.min(end, at + REACH));
    if (close >= 0) return push(codeOf(source.slice(at + run.length, close)), close + run.length - at, CODE);
    if (!isOpen || source.length - at > REACH) return push(run, run.length);
    isSettling = false;
    push(codeOf(source.slice(at + run.length, end)), end - at, CODE);
  }
  function takeEmphasis(run) {
    const [before, after] = [source[at - 1] || " ", source[at + run.length] || " "];
    const inWord = run[0] === "_" && /\w/.test(before) && /\w/.test(after);
    let rest2 = run.length;
    if (!inWord && /\S/.test(before)) rest2 = closeEmphasis(run[0], rest2);
    if (rest2 && !inWord && /\S/.test(after) && (run[0] !== "~" || rest2 > 1)) {
      openers.push({ sign: run[0], count: rest2, at, index: pieces.length, isRest: rest2 < run.length });
      push("", run.length);
    } else push(run.slice(0, rest2), run.length);
  }
  function closeEmphasis(sign, count) {
    for (let i = openers.length - 1; i >= 0 && count; i--) {
      const opener = openers[i];
      if (opener.sign === "[") break;
      if (opener.sign !== sign || sign === "~" && count < 2) continue;
      dropOpeners(i + 1);
      while (count && opener.count) {
        const width = count > 1 && opener.count > 1 ? 2 : 1;
        mark(opener, sign === "~" ? DEL : width === 2 ? STRONG : EM);
        count -= width;
        opener.count -= width;
      }
      if (!opener.count) openers.pop();
    }
    return count;
  }
  function mark(opener, marks) {
    for (let i = opener.index + 1; i < pieces.length; i++) pieces[i].marks |= marks;
  }
  function dropOpeners(first) {
    for (const opener of openers.splice(first)) pieces[opener.index].text = literalOf(opener);
  }
  function takeBracket() {
    const length = source[at] === "!" ? 2 : 1;
    openers.push({ sign: "[", count: length, at, index: pieces.length, isRest: false });
    push("", length);
  }
  function takeClosingBracket() {
    const first = lastBracket();
    if (first < 0) return push("]", 1);
    at++;
    const target = match(TARGET);
    if (target) return closeLink(first, target[1] || target[2] || "", target[0].length);
    const isHalf2 = isOpen && (at === end || source[at] === "(" && end - at < REACH && !/\n/.test(source.slice(at, end)));
    if (isHalf2) {
      isSettling = false;
      at = end;
      return;
    }
    dropOpeners(first);
    push("]", 0);
  }
  function lastBracket() {
    for (let i = openers.length - 1; i >= 0; i--) if (openers[i].sign === "[") return i;
    return -1;
  }
  function closeLink(first, target, length) {
    const { index, count } = openers[first];
    dropOpeners(first);
    pieces[index].text = "";
    at += length;
    const url = target.replace(/\\([!-/:-@[-`{-~])/g, "$1");
    if (count === 2) {
      const text = pieces.splice(index + 1).map((piece) => piece.text).join("");
      pieces.push({ text, marks: 0, .../^https?:\/\//i.test(url) && { image: url } });
    } else if (isSafe(url)) for (const piece of pieces.slice(index)) piece.href = url;
  }
  function takeLink(url, length) {
    push(url, length);
    if (isSafe(url)) pieces[pieces.length - 1].href = url;
  }
  function takeUrl(found) {
    if (isOpen && at + found.length === end) isSettling = false;
    const url = trimmedUrl(found);
    takeLink(url, url.length);
  }
  function take() {
    const sign = source[at];
    const run = match(RUN);
    if (run) return sign === "`" ? takeCode2(run[0]) : takeEmphasis(run[0]);
    if (sign === "\\" && /[!-/:-@[-`{-~]/.test(source[at + 1] || "")) return push(source[at + 1], 2);
    if (sign === "[" || sign === "!" && source[at + 1] === "[") return takeBracket();
    if (sign === "]") return takeClosingBracket();
    let found = null;
    if (sign === "h" && !/\w/.test(source[at - 1] || "") && lastBracket() < 0 && (found = matchHere(URL_HERE))) return takeUrl(found[0].slice(0, end - at));
    if (sign === "<" && (found = match(BRACKETED_URL))) return takeLink(found[1], found[0].length);
    if (sign === "<" && (found = match(BREAK))) return push("\n", found[0].length);
    if (sign === "&" && (found = match(ENTITY))) return push(ENTITIES[found[1]], found[0].length);
    const text = (matchHere(PLAIN) || [""])[0].slice(0, end - at);
    push(text, text.length);
  }
  while (at < end) {
    dropFarOpeners(at);
    settle();
    take();
  }
  dropFarOpeners(source.length);
  if (isOpen) finishOpeners();
  else dropOpeners(0);
  const spans = settled.slice();
  pushPieces(spans, pieces);
  return { spans, progress: { at: settledAt, spans: settled } };
  function dropFarOpeners(from) {
    while (openers.length && from - openers[0].at > REACH) {
      const [opener] = openers.splice(0, 1);
      pieces[opener.index].text = literalOf(opener);
    }
  }
  function finishOpeners() {
    const image = openers.findIndex(({ sign, count }) => sign === "[" && count === 2);
    if (image >= 0) pieces.splice(openers[image].index);
    let marks = 0;
    let next2 = 0;
    for (let i = 0; i < pieces.length; i++) {
      for (; next2 < openers.length && openers[next2].index < i; next2++) marks |= marksOf(openers[next2]);
      pieces[i].marks |= marks;
    }
  }
}
function marksOf({ sign, count }) {
  if (sign === "[") return 0;
  return sign === "~" ? DEL : (count > 1 ? STRONG : 0) | (count & 1 ? EM : 0);
}
function literalOf({ sign, count }) {
  return sign === "[" ? "![".slice(2 - count) : sign.repeat(count);
}
function openEnd(source) {
  let end = source.length;
  while (end && source.length - end < REACH && UNFINISHED2.test(source[end - 1])) end--;
  return end;
}
function closingRun(source, run, from, end) {
  for (let at = source.indexOf(run, from); at >= 0 && at + run.length <= end; at = source.indexOf(run, at)) {
    let after = at + run.length;
    while (source[after] === "`") after++;
    if (after - at === run.length) return at;
    at = after;
  }
  return -1;
}
function codeOf(text) {
  return /^ .* $/.test(text) && /\S/.test(text) ? text.slice(1, -1) : text;
}
function trimmedUrl(url) {
  let end = url.length;
  while (/[.,;:!?'*_~)\]]/.test(url[end - 1]) && !(url[end - 1] === ")" && url.slice(0, end).split("(").length >= url.slice(0, end).split(")").length)) end--;
  return url.slice(0, end);
}
function isSafe(url) {
  return /^(?:https?:\/\/|mailto:)[^\s\x00-\x1f]+$/i.test(url);
}
function pushPieces(spans, pieces) {
  for (const { text, marks, href, image } of pieces) {
    if (image !== void 0) spans.push({ text, image });
    else if (text) pushText(spans, text, NAMES.filter((_, bit) => marks & 1 << bit).join(" "), href);
  }
}
function pushText(spans, text, marks = "", href) {
  const last = spans[spans.length - 1];
  const style = { ...marks && { marks }, ...href !== void 0 && { href } };
  let known = 0;
  if (last && last.image === void 0 && (last.marks || "") === marks && last.href === href) {
    spans.pop();
    text = last.text + text;
    known = last.text.length;
  }
  for (; ; ) {
    const cut = cutOf(text, Math.max(known, SHORTEST_SPAN * 2 ** Math.floor(spans.length / SPANS_OF_A_LENGTH)));
    spans.push({ text: text.slice(0, cut), ...style });
    text = text.slice(cut);
    known = 0;
    if (!text) return;
  }
}
function cutOf(text, length) {
  for (let at = length; at < text.length; at++) if (isCut(text.charCodeAt(at - 1), text.charCodeAt(at))) return at;
  return text.length;
}
function isCut(before, after) {
  if (after >= 13312 && after < 40960 || after > 12352 && after < 12439 || after > 12448 && after < 12539) return true;
  return before === 10 || before >= 32 && before < 127 && after > 32 && after < 127;
}

// src/markdown/blocks.ts
var BEGINNING = { block: null, lists: [], quote: 0, isBlank: true };
var QUOTES = /^(?: {0,3}> ?){0,9}/;
var FENCE = /^(`{3,}|~{3,})\s*([^`]*)$/;
var HEADING = /^(#{1,6})(?:[ \t]+(.*))?$/;
var RULE = /^([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
var ITEM = /^([-*+]|(\d{1,9})[.)])(?:[ \t]+(.*))?$/;
var TASK = /^\[([ xX])\][ \t]+/;
var ROW_BELOW_HEAD = /^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
var HALF_MARKER = /^(?:#{1,6}|[-+*]|(?:[-*]{2}|_)[-*_ \t]*|\d{1,9}[.)]?|`{1,2}|~{1,2})$/;
var HALF_ROW_BELOW_HEAD = /^[|:\- \t]+$/;
var HALF_TASK = /^\[[ xX]?\]?$/;
function takeLine(state, line) {
  if (state.block && state.block.fence) return takeCode(state, state.block, state.block.fence, line);
  const quotes = (QUOTES.exec(line.text) || [""])[0];
  const text = line.text.slice(quotes.length);
  const content = text.trim();
  if (!content || line.isOpen && isHalf(state, content)) return line.isOpen ? [[], state] : closed({ ...state, isBlank: true });
  const quote = quotes.split(">").length - 1;
  const [before, inside] = quote === state.quote ? [[], state] : closed({ ...state, lists: [], quote });
  const at = line.at + quotes.length;
  const [after, next2] = takeContent(inside, content, { text, at, isOpen: line.isOpen });
  return [[...before, ...after], { ...next2, isBlank: false }];
}
function isHalf(state, content) {
  return HALF_MARKER.test(content) || isHead(state) && HALF_ROW_BELOW_HEAD.test(content);
}
function isHead({ block, isBlank }) {
  return !!block && !isBlank && block.node.type === "paragraph" && block.source.indexOf("|") >= 0 && block.source.indexOf("\n") < 0;
}
function closed(state) {
  return [state.block ? [state.block] : [], { ...state, block: null }];
}
function opened(state, block) {
  return [state.block ? [state.block] : [], { ...state, block }];
}
function takeContent(state, content, line) {
  const indent = indentOf(line.text);
  const lists = state.lists.filter((marker) => indent >= marker + 2);
  const place = { ...state.quote && { quote: state.quote }, ...lists.length && { depth: lists.length } };
  const inside = { ...state, lists };
  const fence = FENCE.exec(content);
  if (fence) return openCode(inside, place, fence, indent, line);
  const heading = HEADING.exec(content);
  if (heading) {
    const source = (heading[2] || "").replace(/(?:^|[ \t]+)#+$/, "");
    return opened(inside, { node: { type: "heading", level: heading[1].length, ...place }, source, at: line.at });
  }
  if (RULE.test(content)) return opened(inside, { node: { type: "rule", ...place }, source: "", at: line.at });
  const item = ITEM.exec(content);
  if (item && (lists.length < state.lists.length || mayBegin(state, item[2]))) return openItem({ ...state, lists: [...lists, indent] }, item, line);
  return takeText(state, inside, place, content, line);
}
function mayBegin({ block, isBlank }, number) {
  return number === void 0 || +number === 1 || isBlank || !block || block.node.type !== "paragraph";
}
function openCode(state, place, [, fence, info], indent, { at, isOpen }) {
  const language = isOpen ? "" : info.trim().split(/\s/)[0];
  return opened(state, { node: { type: "code", language, ...place, spans: [] }, source: "", at, fence, indent });
}
function takeCode(state, block, fence, line) {
  const quotes = (QUOTES.exec(line.text) || [""])[0];
  if (state.quote && !quotes) {
    const [before, outside] = closed(state);
    const [after, next2] = takeLine(outside, line);
    return [[...before, ...after], next2];
  }
  const text = state.quote ? line.text.slice(quotes.length) : line.text;
  const end = text.trim();
  if (end.length >= fence.length && end === fence[0].repeat(end.length)) return closed(state);
  if (line.isOpen && fence.startsWith(end)) return [[], state];
  const spans = (block.node.spans || []).slice();
  pushText(spans, (spans.length ? "\n" : "") + text.slice(Math.min(indentOf(text), block.indent || 0)));
  return [[], { ...state, block: { ...block, node: { ...block.node, spans } } }];
}
function openItem(state, [, bullet, number, rest2 = ""], line) {
  const task = TASK.exec(rest2);
  const isHalfTask = line.isOpen && HALF_TASK.test(rest2);
  const marker = task ? task[1] === " " ? "☐" : "☑" : number ? `${number}.` : "•";
  const quote = state.quote && { quote: state.quote };
  const node = { type: "item", depth: state.lists.length, marker: bullet && marker, ...quote };
  const at = line.at + (task ? task[0].length : 0);
  return opened(state, { node, source: isHalfTask ? "" : rest2.slice(task ? task[0].length : 0), at });
}
function takeText(state, inside, place, content, { at, isOpen }) {
  const { block } = state;
  if (block && block.node.type === "table" && !state.isBlank) return [[], { ...state, block: withRow(block, content, isOpen) }];
  if (block && isHead(state) && ROW_BELOW_HEAD.test(content)) {
    const align = cellsOf(content).map(alignOf);
    if (align.length === cellsOf(block.source).length) return [[], { ...state, block: tableOf(block, align) }];
  }
  const goesOn = block && !state.isBlank && (block.node.type === "paragraph" || block.node.type === "item");
  if (block && goesOn) return [[], { ...state, block: { ...block, source: `${block.source}
${content}` } }];
  return opened(inside, { node: { type: "paragraph", ...place }, source: content, at });
}
function tableOf(head, align) {
  const node = { ...head.node, type: "table", align, rows: [rowOf(cellsOf(head.source), align.length, false)] };
  return { node, source: "", at: head.at };
}
function withRow(block, content, isOpen) {
  const { rows = [], align = [] } = block.node;
  return { ...block, node: { ...block.node, rows: [...rows, rowOf(cellsOf(content), align.length, isOpen)] } };
}
function rowOf(cells, columns, isOpen) {
  const row = cells.slice(0, columns).map((cell, column) => readInline(cell, NOTHING, isOpen && column === cells.length - 1).spans);
  while (row.length < columns) row.push([]);
  return row;
}
function cellsOf(line) {
  const cells = line.replace(/^\|/, "").match(/(?:\\[^]|[^|\\]|\\$)*(?:\||$)/g) || [];
  const texts = cells.filter((cell) => cell).map((cell) => cell.replace(/\|$/, ""));
  return texts.map((cell, index) => (cell.endsWith("\\") && index < texts.length - 1 ? `${cell}|` : cell).trim());
}
function alignOf(cell) {
  const ends = cell.slice(-1) === ":";
  return cell[0] === ":" ? ends ? "center" : "left" : ends ? "right" : "";
}
function indentOf(text) {
  let indent = 0;
  while (text[indent] === " " || text[indent] === "	") indent++;
  return indent;
}
function drawBlock({ node, source }, progress, isOpen) {
  if (node.type === "code" || node.type === "table" || node.type === "rule") return { node, progress };
  if (isOpen && node.type === "paragraph" && /^\|[^\n]*$/.test(source)) {
    const cells = cellsOf(source);
    const rows = [rowOf(cells, cells.length, true)];
    return { node: { ...node, type: "table", align: cells.map(() => ""), rows }, progress };
  }
  const read = readInline(source, progress, isOpen);
  return { node: { ...node, spans: read.spans }, progress: read.progress };
}

// src/markdown/patch.ts
function addChanges(patch, path, before, after, first = 0) {
  if (Array.isArray(before) && Array.isArray(after) && before.length <= after.length) {
    after.forEach((item, index) => {
      if (item !== before[index]) addChanges(patch, `${path}[${first + index}]`, before[index], item);
    });
  } else if (isRecord(before) && isRecord(after) && Object.keys(before).every((key) => key in after)) {
    for (const key of Object.keys(after)) if (after[key] !== before[key]) addChanges(patch, `${path}.${key}`, before[key], after[key]);
  } else patch[path] = after;
}
function isRecord(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// src/markdown.ts
function createMarkdown(path = "nodes") {
  let text = "";
  let at = 0;
  let state = BEGINNING;
  const nodes = [];
  let closed2 = 0;
  let settled;
  function draw(block, isOpen) {
    const known = settled && settled.at === block.at ? settled.progress : NOTHING;
    const { node, progress } = drawBlock(block, known, isOpen);
    if (isOpen) settled = { at: block.at, progress };
    return node;
  }
  function takeLines(drawn) {
    for (let end = text.indexOf("\n", at); end >= 0; end = text.indexOf("\n", at)) {
      const [blocks, next2] = takeLine(state, lineTo(end, false));
      drawn.push(...blocks.map((block) => draw(block, false)));
      state = next2;
      at = end + 1;
    }
  }
  function lineTo(end, isOpen) {
    return { text: text.slice(at, text[end - 1] === "\r" ? Math.max(at, end - 1) : end), at, isOpen };
  }
  function drawTail(done) {
    const [blocks, { block }] = at < text.length ? takeLine(state, lineTo(text.length, !done)) : [[], state];
    const tail = blocks.map((ended2) => draw(ended2, false));
    return block ? [...tail, draw(block, !done)] : tail;
  }
  function restart() {
    at = closed2 = 0;
    state = BEGINNING;
    settled = void 0;
  }
  function update(whole, done = false) {
    if (!whole.startsWith(text)) restart();
    text = whole;
    const before = nodes.slice(closed2);
    const drawn = [];
    takeLines(drawn);
    const patch = {};
    const after = [...drawn, ...drawTail(done)];
    if (closed2 + after.length < nodes.length) patch[path] = [...nodes.slice(0, closed2), ...after];
    else addChanges(patch, path, before, after, closed2);
    nodes.splice(closed2, before.length, ...after);
    closed2 += drawn.length;
    return patch;
  }
  return {
    update,
    append: (piece, done) => update(text + piece, done),
    nodes: () => nodes
  };
}

// src/clock.ts
var systemClock = {
  now: () => Date.now(),
  later(callback, milliseconds) {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  }
};

// src/platform/fetch.ts
var fetchPlatform = {
  streams: true,
  clock: systemClock,
  send(request, reception) {
    const controller = new AbortController();
    let isOpen = true;
    const once = (report) => {
      if (isOpen) report();
    };
    receive(request, controller.signal, {
      chunk: (chunk) => once(() => reception.chunk(chunk)),
      end: (status, body) => once(() => reception.end(status, body)),
      fail: (reason) => once(() => reception.fail(reason))
    });
    return () => {
      isOpen = false;
      controller.abort();
    };
  },
  watchVisibility(listener) {
    if (typeof document === "undefined") return () => {
    };
    const page = document;
    const report = () => listener(!page.hidden);
    page.addEventListener("visibilitychange", report);
    return () => page.removeEventListener("visibilitychange", report);
  }
};
async function receive(request, signal, reception) {
  const { method, headers, body } = request;
  let status = 0;
  let text = "";
  try {
    const response = await fetch(request.url, { method, headers, body, signal });
    status = response.status;
    if (request.streamed && status === 200 && response.body) await pump(response.body.getReader(), reception);
    else text = await response.text();
  } catch (error) {
    return reception.fail(String(error));
  }
  reception.end(status, text);
}
async function pump(reader, reception) {
  for (; ; ) {
    const { done, value } = await reader.read();
    if (value) reception.chunk(value);
    if (done) return;
  }
}

// src/graphemes.ts
var RUNS = "CaNC2RCiO2nCxO9XO3CXOghE34O7nE7O7bE1jO1kP6OaEbOCO1aElOgEO2tE7POEfOxPOEOuErO2jEbO1mE9O9EOoEoO17E3O1gP2O6E8O16EoPEyO1hEuOaE2OsE5O1hEuOaE2OqE7O1hEuOaE2OcE2O3EOaE5O1hEuOaE2OmEbO1hEuOaE2OsE5O1hE16OsE5O1hEuOaE2OsE5O1hEuOaE2OfEiO1hEkPE9OaE2OtE3O1yEmOiE2O1pEaOcE8O2qEcObE7O21E2OrE5O4E2O1dEnO5E1cO9EO2uEiOnE4O4E3OgE4OdE5O6EOfEO2qL2oV20T2gO9pE3OqaE2qO1sEwO9EO19E3CEO39E2OyEO3aEsO63E5O1lE17O1cE2dO1bEhO12EoOuEdO1kEeO1cEkO48E16O5iE1sOejCEZC2OoC7OdXOcXOmCgO2oExO1dXoO2eX228O6nE3O3xEO2oEwOfeE6XOcXO2jE2Oe4X3OmvpEfOwE2O28E2O7kEaOnEaO2bE2O1eEiOqEwO12E8OpEdOcLtO3E4O1bEeO10EO1vE11O1aEO1fEiO15EcO6kEbO8n6VnO4T1dO6xuEOkhEgOgEgO5rCO4eE2O28CcOe9E5s6O44tCgEmOasaEzmOf57E2OC4O3mkEhfC8E5mO1izE30rO1bpXdiIqXe3E5X2da";
var JOINS = /RN$|L[LVAB]$|[AV][VT]$|[BT]T$|[^RNC][EZ]$|P[^RNC]$|XE*ZX$|(?:^|[^I])II$/;
function graphemeEnd(text, start) {
  let at = start;
  let cluster = "";
  while (at < text.length) {
    const codePoint = text.codePointAt(at);
    cluster = cluster.slice(-3).replace("EE", "E") + classOf(codePoint);
    if (at > start && !JOINS.test(cluster)) break;
    at += codePoint > 65535 ? 2 : 1;
  }
  return at;
}
var classes = "";
function classOf(codePoint) {
  if (codePoint >= 44032 && codePoint < 55204) return (codePoint - 44032) % 28 ? "B" : "A";
  if (codePoint >= 917504) return "E";
  if (!classes) classes = RUNS.replace(/(\D)([\da-z]*)/g, (_, letter, length) => letter.repeat(parseInt(length || "1", 36)));
  return classes[codePoint] || "O";
}

// src/typewriter.ts
var TICK = 50;
var SPREAD = 800;
var DRAIN = 350;
function createTypewriter(show, clock = systemClock) {
  let target = "";
  let shown = 0;
  let stale = false;
  let ended2 = false;
  let drainedAt = 0;
  let lastFrame = -Infinity;
  let paused = false;
  let stopped = false;
  let cancel;
  function schedule() {
    if (cancel || paused || !hasMore()) return;
    const wait = lastFrame + TICK - clock.now();
    if (wait <= 0) return type(TICK);
    cancel = clock.later(tick, Math.min(wait, TICK));
  }
  function hasMore() {
    return !stopped && (ended2 || stale || nextEnd() > shown);
  }
  function nextEnd() {
    const end = graphemeEnd(target, shown);
    return ended2 || end < target.length - (endsInHalf(target) ? 1 : 0) ? end : shown;
  }
  function tick() {
    cancel = void 0;
    if (hasMore()) type(clock.now() - lastFrame);
  }
  function type(elapsed) {
    const time = ended2 ? Math.min(drainedAt - clock.now(), DRAIN) : SPREAD;
    const share = Math.max(elapsed, TICK) / Math.max(time, TICK);
    draw(shown + Math.ceil((target.length - shown) * Math.min(share, 1)));
  }
  function draw(goal) {
    const kept = shown;
    for (let next2 = nextEnd(); shown < goal && next2 > shown; next2 = nextEnd()) shown = next2;
    stale = false;
    stopped = ended2 && shown === target.length;
    lastFrame = clock.now();
    show({ text: target.slice(0, shown), kept, done: stopped });
    schedule();
  }
  function cancelTick() {
    if (cancel) cancel();
    cancel = void 0;
  }
  return {
    append(piece) {
      target += piece;
      schedule();
    },
    replace(text) {
      if (!text.startsWith(target.slice(0, shown + 2))) {
        const common = commonGraphemes(target.slice(0, shown), text);
        stale = stale || common < shown;
        shown = common;
      }
      target = text;
      schedule();
    },
    end() {
      ended2 = true;
      drainedAt = clock.now() + DRAIN;
      schedule();
    },
    flush() {
      if (!paused && hasMore()) draw(target.length);
    },
    pause() {
      paused = true;
      cancelTick();
    },
    resume() {
      paused = false;
      schedule();
    },
    stop() {
      stopped = true;
      cancelTick();
    }
  };
}
function endsInHalf(text) {
  const unit = text.charCodeAt(text.length - 1);
  return unit >= 55296 && unit < 56320;
}
function commonGraphemes(before, text) {
  let same = 0;
  while (same < before.length && before[same] === text[same]) same++;
  let end = 0;
  for (let next2 = 0; next2 <= same && next2 < text.length; next2 = graphemeEnd(text, end)) end = next2;
  return end;
}
export {
  EMPTY,
  createClient,
  createMarkdown,
  createTypewriter,
  fetchPlatform
};
