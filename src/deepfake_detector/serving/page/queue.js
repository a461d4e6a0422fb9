// Files in -> one after the other to the service -> items with a state. No page in here; listeners hear "change" and "answer".
//
// waiting -> sending -> judging -> answered | failed | cancelled; sending -> held (the service is full or starting) -> sending
import { ask, Refusal } from "./api.js";
import { mediaKind } from "./media_kind.js";

const TRIES = 10; // when the service is full
const USUAL_WAIT_S = 3; // when it does not say how long

export class Queue extends EventTarget {
  items = [];
  #next = 1;
  #running = false;

  /** Take files in; the first of the new items. */
  add(files) {
    const added = [...files].map((file) => ({ id: this.#next++, file, address: URL.createObjectURL(file), state: "waiting", sent: 0 }));
    this.items.push(...added);
    this.#run();
    return added[0];
  }

  /** Stop an item that waits or is under way. */
  cancel(item) {
    item.stop?.abort();
    if (item.state === "waiting") this.#set(item, { state: "cancelled" });
  }

  /** Ask once more for one that failed or was cancelled. */
  again(item) {
    this.#set(item, { state: "waiting", sent: 0, error: null });
    this.#run();
  }

  remove(item) {
    this.cancel(item);
    URL.revokeObjectURL(item.address);
    this.items = this.items.filter((other) => other !== item);
    this.#tell("change", item);
  }

  async #run() {
    this.#tell("change");
    if (this.#running) return;
    this.#running = true;
    for (let item = this.#waiting(); item; item = this.#waiting()) await this.#judge(item);
    this.#running = false;
  }

  #waiting() {
    return this.items.find((item) => item.state === "waiting");
  }

  async #judge(item) {
    item.stop = new AbortController();
    item.began = performance.now();
    try {
      item.kind ??= await mediaKind(item.file);
      const { answer, requestId, tookS } = await this.#ask(item);
      this.#set(item, { state: "answered", answer, requestId, tookS, askedAt: new Date() });
      this.#tell("answer", item);
    } catch (error) {
      const cancelled = error.name === "AbortError";
      this.#set(item, cancelled ? { state: "cancelled" } : { state: "failed", error: asRefusal(error) });
    }
  }

  /** Ask, and while the service is full, or has no worker yet, wait as long as it says and ask again. */
  async #ask(item) {
    const { signal } = item.stop;
    const onSent = (share) => this.#set(item, { state: share < 1 ? "sending" : "judging", sent: share });
    for (let tries = 1; ; tries += 1) {
      this.#set(item, { state: "sending", sent: 0 });
      try {
        return await ask(item.file, item.kind, { signal, onSent });
      } catch (error) {
        if (!(error.status === 429 || error.status === 503) || tries === TRIES) throw error;
        item.busy = error.status;
        await this.#hold(item, error.retryAfterS ?? USUAL_WAIT_S);
      }
    }
  }

  async #hold(item, seconds) {
    for (let left = Math.ceil(seconds); left > 0; left -= 1) {
      this.#set(item, { state: "held", left });
      await pause(1000, item.stop.signal);
    }
  }

  #set(item, facts) {
    Object.assign(item, facts);
    this.#tell("change", item);
  }

  #tell(name, item) {
    this.dispatchEvent(new CustomEvent(name, { detail: item }));
  }
}

function asRefusal(error) {
  if (error instanceof Refusal) return error;
  return new Refusal({ status: 0, code: "unreadable", message: `The file could not be read: ${error.message}`, hint: "Choose it again; it may have been moved or changed." });
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => reject(new DOMException("cancelled", "AbortError"));
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
    setTimeout(resolve, ms);
  });
}
