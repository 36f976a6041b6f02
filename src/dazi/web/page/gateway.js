/**
 * The gateway's calls beside those of a stream, which the SDK makes.
 *
 * Laws: every address is relative to the page, so a gateway mounted under a path works; an answer that is not 2xx is an
 * error with `status`, `code`, `remedy` and `retryable`; a call that reads JSON has a time limit.
 */

const JSON_TIMEOUT = 30_000;

/** Makes the calls of the gateway that served this page. */
export function gateway(home = document.baseURI) {
  async function json(where, { method = "GET", headers = {}, body } = {}) {
    const type = body === undefined ? {} : { "Content-Type": "application/json" };
    const signal = AbortSignal.timeout ? AbortSignal.timeout(JSON_TIMEOUT) : undefined;
    const request = { method, headers: { Accept: "application/json", ...type, ...headers }, signal, cache: "no-store" };
    if (body !== undefined) request.body = JSON.stringify(body);
    const response = await fetch(new URL(where, home), request);
    if (!response.ok) throw await refusal(response);
    return response.status === 204 ? null : response.json();
  }

  return {
    models: async () => (await json("v1/models")).data,
    signIn: (key) => json("login", { method: "POST", body: { key } }),
    signOut: () => json("logout", { method: "POST" }),
    abort: ({ generation, key }) =>
      generation
        ? json(`v1/generations/${encodeURIComponent(generation)}/abort`, { method: "POST" })
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
