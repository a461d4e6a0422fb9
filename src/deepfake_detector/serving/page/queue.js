// Files -> items with a state, sent to the service one after the other. Events: "change" and "answer". Knows no DOM.
//
// waiting -> uploading -> processing -> answered | failed | cancelled; uploading -> retrying (429 or 503) -> uploading
import { predict, RETRIED, ServiceError } from "./api.js";
import { isLong, needsJob, predictLong, sleep } from "./long_video.js";
import { mediaKind } from "./media_kind.js";

const MAX_ATTEMPTS = 10; // when the service is busy or starting
const DEFAULT_RETRY_S = 3; // without Retry-After

export class Queue extends EventTarget {
  items = [];
  #nextId = 1;
  #running = false;
  #jobLimits;

  /** `jobLimits` resolves to `jobs` of GET /about. */
  constructor(jobLimits) {
    super();
    this.#jobLimits = jobLimits;
  }

  /** Add files; returns the first new item. */
  add(files) {
    const added = [...files].map((file) => ({ id: this.#nextId++, file, address: URL.createObjectURL(file), state: "waiting", uploaded: 0 }));
    this.items.push(...added);
    this.#run();
    return added[0];
  }

  /** Stop an item that waits or is in progress. */
  cancel(item) {
    item.abort?.abort();
    if (item.state === "waiting") this.#set(item, { state: "cancelled" });
  }

  /** Queue an item again that failed or was cancelled. */
  retry(item) {
    this.#set(item, { state: "waiting", uploaded: 0, error: null });
    this.#run();
  }

  /** Analyse an answered item again for the location that its file holds. */
  async askLocation(item) {
    const options = { signal: new AbortController().signal, onProgress: () => {}, onJob: () => {}, location: true };
    const { answer } = await this.#send(item, options);
    item.answer = { ...item.answer, metadata: answer.metadata };
  }

  remove(item) {
    this.cancel(item);
    URL.revokeObjectURL(item.address);
    this.items = this.items.filter((other) => other !== item);
    this.#emit("change", item);
  }

  async #run() {
    this.#emit("change");
    if (this.#running) return;
    this.#running = true;
    for (let item = this.#nextWaiting(); item; item = this.#nextWaiting()) await this.#process(item);
    this.#running = false;
  }

  #nextWaiting() {
    return this.items.find((item) => item.state === "waiting");
  }

  async #process(item) {
    item.abort = new AbortController();
    try {
      item.kind ??= await mediaKind(item.file);
      item.isJob ??= await needsJob(item, this.#jobLimits);
      const { answer, requestId, tookS } = await this.#predict(item);
      this.#set(item, { state: "answered", answer, requestId, tookS, answeredAt: new Date() });
      this.#emit("answer", item);
    } catch (error) {
      const cancelled = error.name === "AbortError";
      this.#set(item, cancelled ? { state: "cancelled" } : { state: "failed", error: asServiceError(error) });
    }
  }

  /** Send a file; while the service is busy or starting, wait as long as it says and send it again. */
  async #predict(item) {
    const { signal } = item.abort;
    const onProgress = (share) => this.#set(item, { state: share < 1 ? "uploading" : "processing", uploaded: share });
    const onJob = (job) => this.#set(item, { state: "processing", job });
    for (let attempt = 1; ; attempt += 1) {
      this.#set(item, { state: "uploading", uploaded: 0, job: null });
      try {
        return await this.#send(item, { signal, onProgress, onJob });
      } catch (error) {
        if (!RETRIED.includes(error.status) || attempt === MAX_ATTEMPTS) throw error;
        item.errorStatus = error.status;
        await this.#countDown(item, error.retryAfterS ?? DEFAULT_RETRY_S);
      }
    }
  }

  /** Send a file for an answer at once, or as a job. */
  async #send(item, options) {
    if (!item.isJob) {
      const found = await predict(item.file, item.kind, options);
      item.isJob = item.kind === "video" && isLong(found.answer, await this.#jobLimits()); // the browser could not tell
      if (!item.isJob) return found;
    }
    return predictLong(item.file, options);
  }

  async #countDown(item, seconds) {
    for (let secondsLeft = Math.ceil(seconds); secondsLeft > 0; secondsLeft -= 1) {
      this.#set(item, { state: "retrying", secondsLeft });
      await sleep(1000, item.abort.signal);
    }
  }

  #set(item, changes) {
    Object.assign(item, changes);
    this.#emit("change", item);
  }

  #emit(name, item) {
    this.dispatchEvent(new CustomEvent(name, { detail: item }));
  }
}

function asServiceError(error) {
  if (error instanceof ServiceError) return error;
  return new ServiceError({ status: 0, code: "local" });
}
