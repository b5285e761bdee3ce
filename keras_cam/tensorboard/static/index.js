// The CAM tab of TensorBoard: where a network looks, for any probe, class, epoch and run.

import { classesOf, makeChips, makeOrder, makeRuns, makeSettings } from "./controls.js";
import { element, write } from "./dom.js";
import {
  followDarkMode,
  isShown,
  listenForHash,
  listenForReload,
  listenForShown,
  readHash,
  writeHash,
} from "./host.js";
import { KEYS, listenForKeys } from "./keys.js";
import { Panels } from "./panels.js";
import { Player } from "./player.js";
import { Probes } from "./probes.js";
import { isWrong, nameOf, shortened } from "./records.js";
import { hashOf, stateOf, TAB } from "./state.js";
import { Store } from "./store.js";

const PATIENCE = 5000; // milliseconds between two looks for new epochs, at least
const EXAMPLE = 'model.fit(x, y, callbacks=[keras_cam.CAMCallback((x_val, y_val), log_dir="logs")])';

class Page {
  constructor() {
    this.store = new Store(stateOf(readHash()), () => this.schedule());
    this.settings = makeSettings(this.store);
    this.runs = makeRuns(this.store);
    this.order = makeOrder(this.store);
    this.chips = makeChips(this.store);
    this.panels = new Panels(this.store);
    this.probes = new Probes(this.store, () => this.schedule());
    this.player = new Player(this.store, () => !this.scheduled && this.store.flying.size === 0);
    this.problems = element("div", { class: "problems", role: "alert" });
    this.empty = makeEmpty();
    this.waiting = element("p", { class: "waiting", textContent: "Loading…" });
    this.spoken = element("p", { class: "spoken", role: "status", "aria-live": "polite" });
    this.main = element("main", {}, this.chips.root, this.settings.root, this.waiting, this.panels.root);
    const heading = (text) => element("h1", { textContent: text });
    this.count = element("span", { class: "count" });
    const aside = element(
      "aside",
      {},
      heading("Runs"),
      this.runs.root,
      element("div", { class: "caption" }, heading("Probes"), this.count),
      this.order.root,
      this.probes.root,
    );
    const help = KEYS.flatMap(([key, words]) => [
      element("kbd", { textContent: key }),
      element("span", { textContent: words }),
    ]);
    this.top = element(
      "div",
      { class: "top" },
      this.player.root,
      element("p", { class: "help", "aria-label": "Keys" }, ...help),
    );
    this.body = element("div", { class: "body" }, aside, this.main);
    this.root = element("div", { class: "page" }, this.top, this.problems, this.body, this.empty, this.spoken);
  }

  /** Draw once before the next frame, however much has changed. */
  schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.store.serve(() => this.update());
    });
  }

  update() {
    const { store } = this;
    const nothing = store.names?.length === 0;
    [this.body.hidden, this.top.hidden, this.empty.hidden] = [nothing, nothing, !nothing];
    if (!nothing) this.#updateViews();
    this.#updateProblems();
  }

  #updateViews() {
    const { store } = this;
    const classes = classesOf(store);
    for (const part of [this.player, this.settings, this.runs, this.order, this.probes]) part.update();
    this.chips.update(classes);
    this.panels.update(classes);
    write(this.waiting, this.#wait());
    this.waiting.hidden = !this.waiting.textContent;
    write(this.count, this.probes.order.length ? String(this.probes.order.length) : "");
    this.#speak();
    if (store.loaded.length) this.#link();
  }

  #wait() {
    const { store } = this;
    if (store.loaded.length) return "";
    if (store.names === null) return store.problems.size ? "" : "Loading…";
    if (!store.shown.length) return "Choose a run on the left.";
    return store.flying.size
      ? "Loading…"
      : store.problems.size
        ? ""
        : "No epoch has been written yet: the maps appear here as soon as one has.";
  }

  #updateProblems() {
    const { store } = this;
    const said = store.troubles.slice(0, 4).map((text) => shortened(text, 500));
    for (const run of store.loaded) {
      const lost = store.dropped(run, store.probe);
      const [what, are] = lost === 1 ? ["record", "is"] : ["records", "are"];
      const all = run.thinned + run.steps.length;
      if (run.thinned)
        said.push(
          `${run.thinned} of ${all} epochs of run ${shortened(run.name, 60)} are left out, evenly: ` +
            "all are more than is sent at once. Follow fewer probes, or look every few epochs only.",
        );
      if (lost) said.push(`${lost} ${what} of run ${shortened(run.name, 60)} could not be read and ${are} left out.`);
    }
    if (this.said === JSON.stringify(said)) return;
    this.said = JSON.stringify(said);
    this.problems.replaceChildren(...said.map((textContent) => element("p", { textContent })));
  }

  /** Say what is shown, but not while playing. */
  #speak() {
    const { store, player } = this;
    if (player.playing || !store.loaded.length) return;
    const words = store.loaded.map((run) => {
      const entry = run.at(store.probe, store.step)?.entry;
      return entry ? `${nameOf(entry, entry.predicted)}${isWrong(entry) ? ", wrong" : ""}` : "nothing yet";
    });
    write(this.spoken, `${store.unit} ${store.step}, ${store.probe.replace("_", " ")}: predicted ${words.join("; ")}.`);
  }

  /** The address names the epoch also where the last is followed: what is sent is what was seen. */
  #link() {
    const { store, player } = this;
    if (player.playing || !isShown()) return;
    const runs = store.names.length > 1 ? store.shown : null;
    writeHash(hashOf({ ...store.state, runs, epoch: store.step, probe: store.probe }));
  }

  /** Take what a new address says; one that says nothing comes of a way to another tab and back. */
  restore() {
    if (!readHash().includes(`#${TAB}&`)) return;
    Object.assign(this.store.state, stateOf(readHash()));
    this.follow();
    this.store.set({ runs: this.store.state.runs });
  }

  /** Where the epoch that was asked for is the last, those that come after it are shown too. */
  follow() {
    if (this.store.state.epoch !== null && this.store.state.epoch === this.store.steps.at(-1))
      this.store.state.epoch = null;
  }

  /** Look for new epochs now and then, the more rarely the longer that takes. */
  async watch() {
    const begin = performance.now();
    if (isShown()) await this.store.refresh();
    setTimeout(() => this.watch(), Math.max(PATIENCE, 20 * (performance.now() - begin)));
  }
}

function makeEmpty() {
  const lines = [
    element("h1", { textContent: "No maps yet" }),
    element("p", { textContent: "Train with the callback, and show TensorBoard the same directory:" }),
    element("pre", { textContent: `${EXAMPLE}\n\ntensorboard --logdir logs` }),
    element("p", { textContent: "The first maps appear here by themselves once the first epoch has ended." }),
  ];
  return element("div", { class: "empty", hidden: true }, ...lines);
}

/** Called by TensorBoard once the tab is opened. */
export async function render() {
  const style = element("link", { rel: "stylesheet", href: "./style.css" });
  const styled = new Promise((done) => (style.onload = style.onerror = done));
  document.head.append(style);
  document.documentElement.lang = "en";
  followDarkMode();
  const page = new Page();
  await styled;
  document.body.append(page.root);
  listenForKeys(page.player, page.probes, page.chips);
  listenForReload(() => page.store.refresh(true));
  listenForHash(() => page.restore());
  listenForShown((shown) => {
    if (!shown) page.player.stop();
    else page.schedule();
  });
  page.schedule();
  window.focus();
  await page.watch();
  page.follow();
}
