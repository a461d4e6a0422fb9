// A file -> POST /predict_image or /predict_video -> the answer, or a Refusal that says what, why and what to do next.
const LOST_HINT = "Check that the service still runs and that you are online, then try again. A file that is far too large can end the connection, too.";
let token = ""; // of this page's life only: it is written nowhere

/** A refusal of the service, or none of its words at all (status 0). */
export class Refusal extends Error {
  constructor({ status, code, message, hint, retryAfterS = null, requestId = null }) {
    super(message);
    Object.assign(this, { status, code, hint, retryAfterS, requestId });
  }
}

export const setToken = (text) => { token = text.trim(); };

/** Which model answers, why, and on what it was trained. */
export async function about() {
  const response = await fetch("../about", { headers: authorization() });
  if (!response.ok) throw new Refusal(read(response.status, await response.text(), (name) => response.headers.get(name)));
  return response.json();
}

/**
 * Send one file; `field` is "image" or "video". `onSent` is told the share that has left, 0..1.
 * Resolves to { answer, requestId, tookS }; rejects with a Refusal, or an AbortError once `signal` is aborted.
 * XMLHttpRequest because fetch does not tell how far an upload is.
 */
export function ask(file, field, { signal, onSent }) {
  const request = new XMLHttpRequest();
  const started = performance.now();
  const form = new FormData();
  form.append(field, file, sendable(file.name));
  return new Promise((resolve, reject) => {
    const header = (name) => request.getResponseHeader(name);
    request.upload.onprogress = (event) => event.lengthComputable && onSent(event.loaded / event.total);
    request.upload.onload = () => onSent(1);
    request.onerror = () => reject(new Refusal({ status: 0, code: "lost", message: "The connection to the service was lost", hint: LOST_HINT }));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    request.onload = () => {
      const answer = request.status === 200 ? parsed(request.responseText) : null;
      if (!answer) reject(new Refusal(read(request.status, request.responseText, header)));
      else resolve({ answer, requestId: header("X-Request-ID"), tookS: (performance.now() - started) / 1000 });
    };
    signal.addEventListener("abort", () => request.abort());
    request.open("POST", `../predict_${field}?explain=true`);
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.send(form);
  });
}

function authorization() {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

// The service wants short names; what it is called here does not matter to it.
const sendable = (name) => (name.replace(/[^\w.-]+/g, "_") || "file").slice(-60);

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** What an error response says, also when it is not one of ours (a proxy's page, an empty body). */
function read(status, text, header) {
  const error = parsed(text)?.error ?? {};
  return {
    status,
    code: error.code ?? "unknown",
    message: error.message || `The service answered with status ${status} and without a reason`,
    hint: error.hint ?? "",
    retryAfterS: status === 429 || status === 503 ? Number(header("Retry-After")) || null : null,
    requestId: header("X-Request-ID"),
  };
}
