// What the server says, decoded; a few requests at a time; what was fetched kept within bounds.

/**
 * @typedef {object} Step maps of a probe at an epoch
 * @property {number} step @property {[number, number, number]} shape @property {number[]} classes
 * @property {[[number, number], [number, number]]} placement @property {[number, number]} field
 * @property {[number, number]} size @property {Float32Array[]} maps one for each class
 *
 * @typedef {{steps: Step[], dropped: number, bytes: number}} Series
 */

/** An error that the server put into words, or that came instead; `passing` if it is worth another try. */
export class ServerError extends Error {
  constructor(words, passing = false) {
    super(words);
    this.passing = passing;
  }
}

/**
 * Decode the reply of ./maps: length of a header, header, numbers.
 * @param {ArrayBuffer} buffer
 * @returns {Series}
 */
export function decodeMaps(buffer) {
  try {
    const length = new DataView(buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    const begin = Math.ceil((4 + length) / 4) * 4;
    const steps = header.steps.map((step) => {
      const [count, h, w] = step.shape;
      const map = (index) => new Float32Array(buffer, begin + 4 * (step.offset + index * h * w), h * w);
      return { ...step, maps: Array.from({ length: count }, (_, index) => map(index)) };
    });
    return { steps, dropped: header.dropped ?? 0, bytes: buffer.byteLength };
  } catch (error) {
    throw new ServerError(`The maps that came cannot be read (${error.message}).`);
  }
}

/**
 * The last of some records at or before a step; undefined where all are later.
 * @template {{step: number}} T
 * @param {T[]} records sorted by step
 * @param {number} step
 * @returns {T | undefined}
 */
export function lastAt(records, step) {
  let [low, high] = [0, records.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (records[middle].step <= step) low = middle + 1;
    else high = middle;
  }
  return records[low - 1];
}

/** Runs a few tasks at a time, the most urgent first, the latest of these first. */
export class Queue {
  constructor(width) {
    this.width = width;
    this.running = 0;
    this.waiting = [];
  }

  /**
   * @template T
   * @param {() => Promise<T>} task
   * @param {number} urgency higher ones go first
   * @param {AbortSignal} [signal] takes it out of the queue again
   * @returns {Promise<T>}
   */
  add(task, urgency, signal) {
    return new Promise((resolve, reject) => {
      const entry = { task, urgency, resolve, reject };
      const drop = () => {
        this.waiting = this.waiting.filter((other) => other !== entry);
        reject(signal.reason);
      };
      if (signal?.aborted) return drop();
      signal?.addEventListener("abort", drop, { once: true });
      this.waiting.push(entry);
      this.#next();
    });
  }

  #next() {
    if (this.running >= this.width || this.waiting.length === 0) return;
    const most = Math.max(...this.waiting.map((entry) => entry.urgency));
    const index = this.waiting.findLastIndex((entry) => entry.urgency === most);
    const [{ task, resolve, reject }] = this.waiting.splice(index, 1);
    this.running++;
    task()
      .then(resolve, reject)
      .finally(() => {
        this.running--;
        this.#next();
      });
  }
}

/** Keeps what was used last, up to a sum of costs. */
export class Cache {
  constructor(most, drop = () => {}) {
    this.most = most;
    this.drop = drop;
    this.sum = 0;
    /** @type {Map<string, {value: any, cost: number}>} */
    this.entries = new Map();
  }

  get(key) {
    const entry = this.entries.get(key);
    if (entry) {
      this.entries.delete(key);
      this.entries.set(key, entry);
    }
    return entry?.value;
  }

  set(key, value, cost) {
    this.delete(key);
    this.entries.set(key, { value, cost });
    this.sum += cost;
    while (this.sum > this.most && this.entries.size > 1) this.delete(this.entries.keys().next().value);
  }

  delete(key) {
    const entry = this.entries.get(key);
    if (!entry) return;
    this.entries.delete(key);
    this.sum -= entry.cost;
    this.drop(entry.value);
  }
}

/**
 * Fetch from the server, or say in words why not.
 * @param {string} route
 * @param {Record<string, string | number>} parameters
 * @param {"json" | "arrayBuffer" | "blob"} form
 * @param {AbortSignal} [signal]
 */
export async function ask(route, parameters, form, signal) {
  const query = new URLSearchParams(parameters).toString();
  let reply;
  try {
    reply = await fetch(query ? `./${route}?${query}` : `./${route}`, { signal });
    if (reply.ok) return await reply[form]();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ServerError("TensorBoard does not answer. Is it still running?", true);
  }
  const said = await reply.json().catch(() => ({}));
  const words = said.error ? String(said.error).slice(0, 500) : `TensorBoard answered ${reply.status} to ${route}.`;
  throw new ServerError(words, reply.status >= 500);
}
