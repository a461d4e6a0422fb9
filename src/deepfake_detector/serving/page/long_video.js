// A video that is too long or too large for an answer at once -> a job, and its answer. Knows no DOM but a <video>.
import { deleteJob, fetchJob, ServiceError, submitJob } from "./api.js";

const FAULTS_OF_SERVICE = ["job_lost", "tool_failed"]; // other codes of a failed job are about the file
const POLL_MS = 1000;
const MAX_FAILED_POLLS = 30; // in a row: a replica may be away while another takes its place
const METADATA_MS = 5000;
const unfinished = new Set(); // ids of jobs: nobody asks for them once the page is closed
addEventListener("pagehide", (event) => { if (!event.persisted) unfinished.forEach(deleteJob); });

/** Whether a file is sent as a job; `jobLimits` resolves to `jobs` of GET /about, null where the service has none. */
export async function needsJob(item, jobLimits) {
  if (item.kind !== "video") return false;
  const limits = await jobLimits();
  if (!limits) return false;
  return item.file.size > limits.at_once_bytes || (await durationS(item.address)) > limits.at_once_s;
}

/** Whether an answer is about the beginning of a video only. */
export const isLong = (answer, limits) => Boolean(limits) && answer.duration_s > limits.at_once_s;

/**
 * Send a video as a job and wait for its answer; `onJob` gets its state whenever it was asked for. An aborted `signal`
 * deletes the job. Resolves and rejects as `predict` does.
 */
export async function predictLong(file, { signal, onProgress, onJob, location }) {
  const started = performance.now();
  let job = await submitJob(file, { signal, onProgress, location });
  const { id } = job;
  unfinished.add(id);
  try {
    while (job.status === "queued" || job.status === "running") {
      onJob(job);
      await sleep(POLL_MS, signal);
      job = await patientFetch(id, signal);
    }
  } finally {
    unfinished.delete(id);
    deleteJob(id); // the page has the answer, or nobody wants it
  }
  if (job.status === "failed") throw new ServiceError({ status: FAULTS_OF_SERVICE.includes(job.error.code) ? 500 : 422, ...job.error });
  return { answer: job.result, requestId: null, tookS: (performance.now() - started) / 1000 };
}

async function patientFetch(id, signal) {
  for (let failures = 1; ; failures += 1) {
    try {
      return await fetchJob(id, signal);
    } catch (error) {
      const passing = error.status === 0 || error.status >= 500;
      if (signal.aborted || !passing || failures === MAX_FAILED_POLLS) throw error;
      await sleep(POLL_MS, signal);
    }
  }
}

/** Duration of a video in seconds; 0 if the browser cannot tell. */
function durationS(address) {
  const video = document.createElement("video");
  return new Promise((resolve) => {
    const done = () => {
      resolve(Number.isFinite(video.duration) ? video.duration : 0);
      video.removeAttribute("src");
    };
    for (const event of ["loadedmetadata", "error"]) video.addEventListener(event, done, { once: true });
    setTimeout(done, METADATA_MS);
    video.preload = "metadata";
    video.src = address;
  });
}

export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const abort = () => reject(new DOMException("cancelled", "AbortError"));
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    setTimeout(resolve, ms);
  });
}
