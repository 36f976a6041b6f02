/**
 * The gateway's calls, as PROTOCOL.md section 2 tells them.
 *
 * Laws: every address is relative to the page, so a gateway mounted under a path works; an answer that is not 2xx is an
 * error with `status`, `code`, `remedy` and `retryable`; a call that reads JSON has a time limit.
 */

const JSON_TIMEOUT = 30_000; // longer than the longest poll (25 s)
const HEARTBEAT = 5; // seconds: what the stream's silence is measured against
const POLL_WAIT = 20; // seconds, below the 30 s after which many proxies give up

/** Makes the calls of the gateway that served this page. */
export function gateway(home = document.baseURI) {
  const path = (generation, rest = "") => `v1/generations/${encodeURIComponent(generation)}${rest}`;

  async function call(where, { method = "GET", headers = {}, body, signal } = {}) {
    const all = body === undefined ? headers : { "Content-Type": "application/json", ...headers };
    const request = { method, headers: all, signal, cache: "no-store" };
    if (body !== undefined) request.body = JSON.stringify(body);
    const response = await fetch(new URL(where, home), request);
    if (!response.ok) throw await refusal(response);
    return response;
  }

  async function json(where, { headers = {}, signal, ...rest } = {}) {
    const watch = AbortSignal.timeout ? AbortSignal.timeout(JSON_TIMEOUT) : undefined;
    const one = signal && watch && AbortSignal.any ? AbortSignal.any([signal, watch]) : signal || watch;
    const response = await call(where, { headers: { Accept: "application/json", ...headers }, signal: one, ...rest });
    return response.status === 204 ? null : response.json();
  }

  return {
    models: async () => (await json("v1/models")).data,
    signIn: (key) => json("login", { method: "POST", body: { key } }),
    signOut: () => json("logout", { method: "POST" }),
    start: ({ body, key, signal }) =>
      call(`v1/generations?heartbeat=${HEARTBEAT}`, {
        method: "POST",
        headers: { Accept: "text/event-stream", "Idempotency-Key": key },
        body,
        signal,
      }),
    startUnseen: ({ body, key, signal }) =>
      json("v1/generations", { method: "POST", headers: { "Idempotency-Key": key }, body, signal }),
    attach: ({ generation, frame, signal }) =>
      call(path(generation, `/events?heartbeat=${HEARTBEAT}`), {
        headers: { Accept: "text/event-stream", "Last-Event-ID": frame },
        signal,
      }),
    poll: ({ generation, frame, signal }) =>
      json(path(generation, `/events?wait=${POLL_WAIT}&after=${encodeURIComponent(frame)}`), { signal }),
    read: (generation) => json(path(generation)),
    abort: ({ generation, key }) =>
      generation
        ? json(path(generation, "/abort"), { method: "POST" })
        : json("v1/generations/abort", { method: "POST", headers: { "Idempotency-Key": key } }),
  };
}

async function refusal(response) {
  const told = await response.json().then((body) => body.error, () => null);
  const facts = told && typeof told === "object" ? told : {};
  return Object.assign(new Error(facts.message || `HTTP ${response.status}`), {
    status: response.status,
    code: facts.code || `http_${response.status}`,
    remedy: facts.remedy,
    retryable: facts.retryable ?? response.status >= 500,
    retryAfter: Number(facts.retry_after || response.headers.get("Retry-After")) || 0,
  });
}
