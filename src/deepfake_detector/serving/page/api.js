// A file -> POST /predict_image or /predict_video -> the answer, or a ServiceError with a message and a hint.
/** Statuses of a service that is busy or starting. */
export const RETRIED = [429, 503, 507];
let token = ""; // in memory only: it is never stored

/** An error answer of the service; status 0 if there was no answer. `code` names a text of the page, if it has one. */
export class ServiceError extends Error {
  constructor({ status, code, message = "", hint = "", retryAfterS = null, requestId = null }) {
    super(message);
    Object.assign(this, { status, code, hint, retryAfterS, requestId });
  }
}

export const setToken = (text) => { token = text.trim(); };

/** The served model: why it is served, its training data and test results. */
export async function fetchAbout() {
  const response = await fetch("../about", { headers: authorization() });
  if (!response.ok) throw new ServiceError(parseError(response.status, await response.text(), (name) => response.headers.get(name)));
  return response.json();
}

/**
 * Upload one file; `field` is "image" or "video". `onProgress` gets the uploaded share, 0..1; `location` asks for the
 * position that the file holds.
 * Resolves to { answer, requestId, tookS }; rejects with a ServiceError, or with an AbortError once `signal` is aborted.
 * XMLHttpRequest, because fetch does not report the progress of an upload.
 */
export async function predict(file, field, { signal, onProgress, location = false }) {
  const started = performance.now();
  const { body, requestId } = await upload(`predict_${field}`, file, field, { signal, onProgress, location, expected: 200 });
  return { answer: body, requestId, tookS: (performance.now() - started) / 1000 };
}

/** Upload a long video as a job; resolves to the state of the job. For the rest see `predict`. */
export async function submitJob(file, { signal, onProgress, location = false }) {
  return (await upload("jobs", file, "video", { signal, onProgress, location, expected: 202 })).body;
}

/** The state of a job: { status, progress, ahead, result, error }. Rejects with a ServiceError. */
export async function fetchJob(id, signal) {
  const response = await fetch(`../jobs/${id}`, { headers: authorization(), signal }).catch((error) => {
    throw signal.aborted ? error : new ServiceError({ status: 0, code: "lost" });
  });
  if (!response.ok) throw new ServiceError(parseError(response.status, await response.text(), (name) => response.headers.get(name)));
  return response.json();
}

/** Delete a job with its video and result, also while the page is being closed. */
export function deleteJob(id) {
  return fetch(`../jobs/${id}`, { method: "DELETE", headers: authorization(), keepalive: true }).catch(() => {});
}

function upload(route, file, field, { signal, onProgress, location, expected }) {
  const request = new XMLHttpRequest();
  const form = new FormData();
  form.append(field, file, shortName(file.name));
  return new Promise((resolve, reject) => {
    const header = (name) => request.getResponseHeader(name);
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.upload.onload = () => onProgress(1);
    request.onerror = () => reject(new ServiceError({ status: 0, code: "lost" }));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    request.onload = () => {
      const body = request.status === expected ? parseJson(request.responseText) : null;
      if (!body) reject(new ServiceError(parseError(request.status, request.responseText, header)));
      else resolve({ body, requestId: header("X-Request-ID") });
    };
    signal.addEventListener("abort", () => request.abort());
    request.open("POST", `../${route}?explain=true${location ? "&location=true" : ""}`);
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.send(form);
  });
}

function authorization() {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

// The service ignores file names and limits the size of the form's headers.
const shortName = (name) => (name.replace(/[^\w.-]+/g, "_") || "file").slice(-60);

function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The fields of an error response, also if it is not the service's own (a proxy's page, an empty body). */
function parseError(status, text, header) {
  const error = parseJson(text)?.error ?? {};
  return {
    status,
    code: error.code ?? "unknown",
    message: error.message,
    hint: error.hint,
    retryAfterS: RETRIED.includes(status) ? Number(header("Retry-After")) || null : null,
    requestId: header("X-Request-ID"),
  };
}
