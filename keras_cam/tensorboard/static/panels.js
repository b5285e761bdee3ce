// The runs that are shown, each with its picture, maps, numbers and curve, all at the same epoch.

import { limitOf, runColor, short } from "./colors.js";
import { Curve } from "./curve.js";
import { lastAt } from "./data.js";
import { arrange, element, named, write } from "./dom.js";
import { Figure } from "./figure.js";
import { isWrong, nameOf, numbersByMap, probabilityOf, shortened } from "./records.js";
import { PREDICTED, TRUE } from "./state.js";

const MOST_LINES = 6; // of a curve, unless more classes are shown

/**
 * The classes that are meant, each once; for the predicted one, where it has no map, the first that has.
 * @param {(number | string)[]} tokens
 * @param {import("./records.js").Entry} entry
 */
export function resolve(tokens, entry) {
  const predicted = entry.classes.includes(entry.predicted) ? entry.predicted : entry.classes[0];
  const meant = tokens.map((token) => (token === PREDICTED ? predicted : token === TRUE ? entry.true : token));
  return [...new Set(meant.filter(Number.isFinite))];
}

/** The maps that the colours of one are scaled over. */
function inScale(scale, series, step, map) {
  if (scale === "map") return [map];
  return scale === "epoch" ? step.maps : series.steps.flatMap(({ maps }) => maps);
}

/** Why there is nothing to see, in words; none where there is. */
function whyNothing(picture, series, step, map) {
  if (picture === null) return "The picture cannot be shown.";
  if (series === null) return "The maps cannot be shown.";
  if (!picture || !series) return "Loading…";
  return map ? "" : step ? "No map of this class is stored at this epoch." : "No maps are stored at this epoch.";
}

class Panel {
  /** @param {import("./store.js").Store} store @param {string} name @param {(where: any) => void} onPoint */
  constructor(store, name, onPoint) {
    this.store = store;
    this.onPoint = onPoint;
    this.figures = [];
    this.serial = 0;
    this.swatch = element("span", { class: "swatch" });
    this.epoch = element("span", { class: "epoch" });
    this.truth = named("", { class: "truth" });
    this.verdict = element("span", { class: "verdict" });
    this.row = element("div", { class: "figures" });
    this.numbers = element("div", { class: "numbers" });
    this.note = element("p", { class: "note" });
    this.curve = new Curve((epoch) => store.set({ epoch }));
    const head = element(
      "header",
      {},
      this.swatch,
      element("h2", {}, named(shortened(name))),
      this.epoch,
      element("span", { class: "judged" }, this.truth, this.verdict),
    );
    this.root = element(
      "section",
      { "aria-label": `Run ${shortened(name)}` },
      head,
      this.note,
      this.row,
      this.numbers,
      this.curve.root,
    );
  }

  update(run, probe, step, steps, classes) {
    const { store } = this;
    this.swatch.style.background = runColor(store.names.indexOf(run.name));
    const sighting = run.at(probe, step);
    const there = Boolean(sighting);
    for (const part of [this.row, this.numbers, this.curve.root]) part.hidden = !there;
    write(this.note, there ? "" : `This run has no ${probe} at ${run.unit} ${step} or before.`);
    write(this.epoch, there && sighting.step !== step ? `at ${run.unit} ${sighting.step}` : "");
    if (!there) return [this.truth, this.verdict].forEach((part) => write(part, ""));
    const { entry } = sighting;
    const wrong = isWrong(entry);
    write(this.truth, wrong === null ? "" : `true: ${nameOf(entry, entry.true, run)}`);
    write(this.verdict, wrong === null ? "" : wrong ? "✗ wrong" : "✓ right");
    this.verdict.classList.toggle("wrong", Boolean(wrong));
    this.#updateFigures(run, probe, sighting, classes);
    this.#updateNumbers(entry, run);
    const shown = [...new Set([...resolve([...store.state.classes, TRUE], entry), entry.predicted])];
    const others = [...new Set([...entry.classes, ...(entry.top ?? []).map(([index]) => index)])]
      .filter((index) => !shown.includes(index))
      .slice(0, Math.max(0, MOST_LINES - shown.length));
    const lines = [...shown, ...others].filter(Number.isFinite).map((index) => ({
      index,
      name: nameOf(entry, index, run),
      faint: others.includes(index),
      ...(classes.get(index) ?? { color: "#888888", rank: 0 }),
    }));
    lines.sort((a, b) => a.index - b.index);
    this.curve.update(run.probes.get(probe), lines, steps, step, run.unit);
  }

  #updateFigures(run, probe, { step: at, entry }, classes) {
    const { store } = this;
    const { state } = store;
    const series = store.series(run, probe);
    const picture = store.picture(run, probe, at);
    const last = series && lastAt(series.steps, at);
    const step = last?.step === at ? last : undefined;
    const common = { picture, step, state: { ...state }, truth: entry.boxes ?? [], limit: 0 };
    const looks = [
      state.colors,
      state.signedColors,
      state.opacity,
      state.box,
      state.threshold,
      state.scale,
      state.signed,
      state.smooth,
      state.truth,
    ];
    const key = (...more) => JSON.stringify([this.#stampOf(series), this.#stampOf(picture), probe, at, looks, ...more]);
    const name = shortened(entry.name) || probe;
    const contents = [{ ...common, key: key("picture"), title: name, tag: "", label: `Picture ${name}.` }];
    for (const index of resolve(state.classes, entry)) {
      const place = step ? step.classes.indexOf(index) : -1;
      const map = step?.maps[place];
      const [title, p] = [nameOf(entry, index, run), probabilityOf(entry, index)];
      const tags = [index === entry.predicted && "predicted", index === entry.true && "true"].filter(Boolean);
      const missing = whyNothing(picture, series, step, map);
      const limit = map ? limitOf(inScale(state.scale, series, step, map), state.signed) : 0;
      const label = `Map of ${title}, run ${shortened(run.name)}, ${run.unit} ${at}, probability ${short(p)}.`;
      const color = classes.get(index)?.color;
      contents.push({
        ...common,
        key: key(index, p, tags, missing, color),
        title,
        tag: tags.join(", "),
        p,
        color,
        map,
        limit,
        missing,
        label,
      });
    }
    while (this.figures.length < contents.length) this.figures.push(new Figure(this.onPoint));
    this.figures.length = contents.length;
    arrange(
      this.row,
      this.figures.map(({ root }) => root),
    );
    this.figures.forEach((figure, index) => figure.update(contents[index]));
  }

  /** A number that changes when an object is replaced by another. */
  #stampOf(object) {
    this.stamps ??= new WeakMap();
    if (!object) return 0;
    if (!this.stamps.has(object)) this.stamps.set(object, ++this.serial);
    return this.stamps.get(object);
  }

  #updateNumbers(entry, run) {
    const known = numbersByMap(entry, run.measures).map(([index, pairs]) => [
      index === null ? "" : `Map of ${nameOf(entry, index, run)}`,
      pairs.slice(0, 12),
    ]);
    const text = JSON.stringify(known);
    if (this.known === text) return;
    this.known = text;
    const pair = ([label, value]) =>
      element("div", {}, element("dt", { textContent: label }), element("dd", { textContent: short(value) }));
    const group = ([about, pairs]) =>
      element("div", {}, about ? named(about) : "", element("dl", { "aria-label": about }, ...pairs.map(pair)));
    this.numbers.replaceChildren(...known.map(group));
  }
}

export class Panels {
  /** @param {import("./store.js").Store} store */
  constructor(store) {
    this.store = store;
    this.root = element("div", { class: "panels" });
    /** @type {Map<string, Panel>} */
    this.panels = new Map();
    this.onPoint = (where) => {
      for (const panel of this.panels.values()) for (const figure of panel.figures) figure.point(where);
    };
  }

  /** @param {Map<number, {color: string, rank: number}>} classes */
  update(classes) {
    const { store } = this;
    const { loaded, probe, step, steps } = store;
    for (const name of this.panels.keys()) if (!loaded.some((run) => run.name === name)) this.panels.delete(name);
    for (const run of loaded) {
      if (!this.panels.has(run.name)) this.panels.set(run.name, new Panel(store, run.name, this.onPoint));
      this.panels.get(run.name).update(run, probe, step, steps, classes);
    }
    arrange(
      this.root,
      loaded.map((run) => this.panels.get(run.name).root),
    );
    const most = Math.max(1, ...[...this.panels.values()].map(({ figures }) => figures.length));
    this.root.style.setProperty("--count", String(most)); // so that figures of all runs are of one size
  }
}
