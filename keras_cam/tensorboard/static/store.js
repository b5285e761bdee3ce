// The state and what is known from the server; views are told when either changed.

import { ask, Cache, decodeMaps, Queue } from "./data.js";
import { allProbes, allSteps, Run } from "./records.js";

const MEGABYTE = 2 ** 20;
const MOST_RUNS = 8; // that are kept, unless more are shown
const THUMBNAIL = 112; // pixels, twice what is shown
const [THUMBNAILS, PICTURES, MAPS, EPOCHS] = [0, 1, 2, 3]; // by urgency

const keyOf = (...parts) => JSON.stringify(parts);

export class Store {
  /** @param {import("./state.js").State} state @param {() => void} onChange */
  constructor(state, onChange) {
    this.state = state;
    this.onChange = onChange;
    /** @type {string[] | null} all runs, null until the server has said */
    this.names = null;
    /** @type {Map<string, Run>} those that were fetched: what is shown, and some that were */
    this.runs = new Map();
    /** @type {Map<string, {text: string, stamp: any, passing: boolean}>} what went wrong */
    this.problems = new Map();
    this.stamps = new Map(); // of a run: changes when there is more of it
    this.queue = new Queue(4);
    this.held = new Cache(192 * MEGABYTE, (entry) => entry.value.close?.());
    /** @type {Map<string, AbortController>} */
    this.flying = new Map();
    this.needed = new Set();
  }

  /** Change the state. @param {Partial<import("./state.js").State>} changes */
  set(changes) {
    Object.assign(this.state, changes);
    if ("runs" in changes) this.#fetchRuns();
    this.onChange();
  }

  /** Names of the runs that are shown. */
  get shown() {
    const known = this.state.runs?.filter((name) => this.names?.includes(name));
    if (known?.length || this.state.runs?.length === 0) return known;
    return this.names?.slice(0, 2) ?? [];
  }

  /** The runs that are shown and there. */
  get loaded() {
    return this.shown.map((name) => this.runs.get(name)).filter((run) => run?.steps.length);
  }

  get steps() {
    return allSteps(this.loaded);
  }

  /** The epoch that is shown: the last where none was chosen; undefined without any. */
  get step() {
    const steps = this.steps;
    return this.state.epoch === null ? steps.at(-1) : (steps.findLast((step) => step <= this.state.epoch) ?? steps[0]);
  }

  /** What steps count: "epoch", or "batch". */
  get unit() {
    return this.loaded[0]?.unit ?? "epoch";
  }

  get probe() {
    const probes = allProbes(this.loaded);
    return probes.includes(this.state.probe) ? this.state.probe : probes[0];
  }

  /** Ask which runs there are, and for the epochs of those that have more than before. @param {boolean} all */
  async refresh(all = false) {
    try {
      const { runs } = await ask("runs", {}, "json");
      for (const [key, { passing }] of this.problems) if (passing) this.problems.delete(key);
      this.names = runs.map(({ run }) => run);
      if (all) this.generation = (this.generation ?? 0) + 1;
      this.stamps = new Map(runs.map((entry) => [entry.run, keyOf(this.generation, entry)]));
      await this.#fetchRuns();
    } catch (error) {
      this.#fail("runs", null, { message: error.message, passing: true });
    }
    this.onChange();
  }

  async #fetchRuns() {
    for (const name of this.runs.keys()) {
      if (!this.names.includes(name) || (this.runs.size > MOST_RUNS && !this.shown.includes(name)))
        this.runs.delete(name);
    }
    await Promise.all(this.shown.map((name) => this.#fetchRun(name)));
  }

  async #fetchRun(name) {
    const stamp = this.stamps.get(name);
    const key = keyOf("epochs", name);
    if (this.runs.get(name)?.stamp === stamp || this.flying.has(key) || this.#failed(key, stamp)) return;
    this.flying.set(key, new AbortController());
    try {
      const reply = await this.queue.add(() => ask("epochs", { run: name }, "json"), EPOCHS);
      const run = Object.assign(new Run(name, reply), { stamp, born: reply.epochs[0]?.wall_time });
      this.runs.set(name, run);
      this.problems.delete(key);
    } catch (error) {
      this.#fail(key, stamp, error);
    }
    this.flying.delete(key);
    this.onChange();
  }

  /** Maps of a probe in a run at all epochs; undefined until they are there. @returns {import("./data.js").Series} */
  series(run, probe) {
    const load = async (signal) => decodeMaps(await ask("maps", { run: run.name, probe }, "arrayBuffer", signal));
    return this.#get(keyOf("maps", run.name, probe), run.stamp, MAPS, load, (series) => series.bytes);
  }

  /** How many records of a run and of its maps of a probe could not be read. */
  dropped(run, probe) {
    return run.dropped + (this.held.get(keyOf("maps", run.name, probe))?.value.dropped ?? 0);
  }

  /** The picture of a probe at an epoch. @returns {ImageBitmap} */
  picture(run, probe, step) {
    return this.#picture("picture", PICTURES, run, probe, step, (bitmap) => bitmap);
  }

  /** The same in small, square. @returns {OffscreenCanvas} */
  thumbnail(run, probe, step) {
    return this.#picture("thumbnail", THUMBNAILS, run, probe, step, (bitmap) => {
      const small = new OffscreenCanvas(THUMBNAIL, THUMBNAIL);
      const side = Math.min(bitmap.width, bitmap.height);
      const [left, top] = [(bitmap.width - side) / 2, (bitmap.height - side) / 2];
      small.getContext("2d").drawImage(bitmap, left, top, side, side, 0, 0, THUMBNAIL, THUMBNAIL);
      bitmap.close();
      return small;
    });
  }

  #picture(kind, urgency, run, probe, step, finish) {
    const from = run.pictureStep(probe, step);
    const load = async (signal) => {
      const blob = await ask("picture", { run: run.name, probe, step: from }, "blob", signal);
      return finish(
        await createImageBitmap(blob).catch(() => {
          throw new Error(`The picture of ${probe} in run ${run.name.slice(0, 80)} cannot be decoded.`);
        }),
      );
    };
    const cost = ({ width, height }) => 4 * width * height;
    return this.#get(keyOf(kind, run.name, probe, from), run.born, urgency, load, cost);
  }

  /** What is held, maybe of an earlier stamp; what is not, or is older, is fetched. Null where that failed. */
  #get(key, stamp, urgency, load, cost) {
    this.needed.add(key);
    const held = this.held.get(key);
    if (held?.stamp !== stamp && !this.flying.has(key) && !this.#failed(key, stamp)) {
      const controller = new AbortController();
      this.flying.set(key, controller);
      const done = (value) => {
        this.held.set(key, { value, stamp }, cost(value));
        this.problems.delete(key);
      };
      const failed = (error) => controller.signal.aborted || this.#fail(key, stamp, error);
      this.queue
        .add(() => load(controller.signal), urgency, controller.signal)
        .then(done, failed)
        .finally(() => {
          if (this.flying.get(key) === controller) this.flying.delete(key);
          this.onChange();
        });
    }
    return held ? held.value : this.#failed(key, stamp) ? null : undefined;
  }

  #fail(key, stamp, { message, passing = false }) {
    this.problems.set(key, { text: message, stamp, passing });
  }

  /** Whether it went wrong, and nothing has changed since. */
  #failed(key, stamp) {
    const problem = this.problems.get(key);
    return problem !== undefined && problem.stamp === stamp;
  }

  /** What went wrong with what is shown, in words, each once. */
  get troubles() {
    const epochs = this.shown.map((name) => keyOf("epochs", name));
    const concerned = [...this.problems].filter(
      ([key]) => key === "runs" || this.needed.has(key) || epochs.includes(key),
    );
    return [...new Set(concerned.map(([, { text }]) => text))];
  }

  /** Let views ask for what they show; give up what is not needed any more. @param {() => void} show */
  serve(show) {
    this.needed.clear();
    show();
    for (const [key, controller] of this.flying) {
      if (this.needed.has(key) || key.startsWith('["epochs"')) continue;
      this.flying.delete(key);
      controller.abort(new DOMException("not needed any more", "AbortError"));
    }
  }
}
