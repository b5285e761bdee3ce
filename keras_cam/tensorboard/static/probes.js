// The strip of probes: each with its picture, what the runs say it is, and a mark where that is wrong.

import { probability, runColor, short } from "./colors.js";
import { arrange, element, named, write } from "./dom.js";
import {
  allProbes,
  differ,
  groupsOf,
  isWrong,
  measure,
  measuredClass,
  nameOf,
  ordered,
  probabilityOf,
  shortened,
} from "./records.js";

const MOST_LINES = 3; // runs that are told apart beside a picture

/** Words for what an order goes by. */
const MEASURED = { moved: "moved", outside: "outside", wrong: "p of a wrong class" };

class Item {
  constructor(id, onChoose) {
    this.id = id;
    this.thumbnail = element("canvas", { width: 1, height: 1 });
    this.name = named("");
    this.group = named("", { class: "group" });
    this.truth = named("");
    this.known = element("span", { class: "truth" }, "true:", this.truth);
    this.lines = element("div", { class: "lines" });
    this.measure = element("span", { class: "measure" });
    this.differs = element("span", { class: "differs", textContent: "≠ different pictures" });
    this.differs.title = "The runs show different pictures under this number; here is that of the first.";
    const words = element(
      "div",
      { class: "about" },
      element("div", { class: "title" }, this.name, this.group),
      this.known,
      this.differs,
      this.lines,
      this.measure,
    );
    this.root = element("li", { role: "option", id: `option_${id}` }, this.thumbnail, words);
    this.root.onclick = () => onChoose(id);
    this.root.item = this;
  }

  /** @param {{run: import("./records.js").Run, entry: any}[]} sights */
  update(sights, order, selected, names) {
    const entry = sights[0]?.entry;
    const name = shortened(entry?.name, 60) || this.id;
    const group = shortened(entry?.group, 40);
    const entries = sights.map((sight) => sight.entry);
    const truth = [...new Set(sights.filter((sight) => Number.isFinite(sight.entry.true)).map(truthOf))].join(" / ");
    const differs = differ(entries);
    write(this.name, name);
    write(this.group, group);
    write(this.truth, truth);
    this.known.hidden = !truth;
    this.differs.hidden = !differs;
    write(this.measure, order in MEASURED ? wordsOf(order, sights) : "");
    this.measure.title = this.measure.textContent;
    const lines = this.#verdicts(sights, names);
    const text = JSON.stringify(lines);
    if (this.text !== text) this.lines.replaceChildren(...lines.map(lineOf));
    this.text = text;
    const words = lines.map((line) => `${line.mark === "✗" ? "wrong: " : ""}${line.name} ${line.p}`);
    const marked = differs && "different pictures in these runs";
    const label = [name, group, truth && `true class ${truth}`, marked, ...words].filter(Boolean).join(", ");
    for (const [attribute, value] of [
      ["aria-label", label],
      ["aria-selected", String(selected)],
    ]) {
      if (this.root.getAttribute(attribute) !== value) this.root.setAttribute(attribute, value);
    }
    this.root.classList.toggle(
      "wrong",
      lines.some((line) => line.mark === "✗"),
    );
  }

  #verdicts(sights, names) {
    const lines = sights.map(({ run, entry }) => {
      const wrong = isWrong(entry);
      return {
        color: runColor(names.indexOf(run.name)),
        mark: wrong === null ? "" : wrong ? "✗" : "✓",
        name: nameOf(entry, entry.predicted),
        p: probability(probabilityOf(entry, entry.predicted)),
      };
    });
    if (lines.length <= MOST_LINES) return lines;
    const wrong = lines.filter((line) => line.mark === "✗").length;
    return [{ color: "", mark: wrong ? "✗" : "✓", name: `${wrong} of ${lines.length} runs wrong`, p: "" }];
  }

  draw(thumbnail) {
    if (!thumbnail || this.drawn === thumbnail) return;
    this.drawn = thumbnail;
    [this.thumbnail.width, this.thumbnail.height] = [thumbnail.width, thumbnail.height];
    this.thumbnail.getContext("2d").drawImage(thumbnail, 0, 0);
  }
}

const truthOf = ({ run, entry }) => nameOf(entry, entry.true, run);

/** What an order goes by, of which class's map, and how much it is. */
function wordsOf(order, sights) {
  const entries = sights.map((sight) => sight.entry);
  const index = measuredClass(order, entries);
  const by = sights.find((sight) => sight.entry.names?.[index] !== undefined) ?? sights[0];
  const whose = index === null ? "" : `, map of ${nameOf(by?.entry, index, by?.run)}`;
  return `${MEASURED[order]}${whose}: ${short(measure(order, entries))}`;
}

function lineOf({ color, mark, name, p }) {
  const swatch = element("span", { class: "swatch" });
  swatch.style.background = color;
  const kind = mark === "✗" ? "mark wrong" : "mark";
  return element(
    "div",
    { class: "line" },
    swatch,
    element("span", { class: kind, textContent: mark }),
    named(name),
    element("span", { class: "p", textContent: p }),
  );
}

export class Probes {
  /** @param {import("./store.js").Store} store @param {() => void} onVisible */
  constructor(store, onVisible) {
    this.store = store;
    this.root = element("ul", { class: "strip", role: "listbox", tabIndex: 0, "aria-label": "Probes" });
    /** @type {Map<string, Item>} */
    this.items = new Map();
    this.visible = new Set();
    this.order = [];
    this.observer = new IntersectionObserver(
      (changes) => {
        for (const { target, isIntersecting } of changes) {
          if (isIntersecting) this.visible.add(target.item);
          else this.visible.delete(target.item);
        }
        onVisible();
      },
      { root: this.root, rootMargin: "200px" },
    );
  }

  update() {
    const { store } = this;
    const { loaded, step, probe, state } = store;
    const known = allProbes(loaded).map((id) => {
      const sights = loaded
        .map((run) => ({ run, entry: (run.at(id, step) ?? run.probes.get(id)?.[0])?.entry }))
        .filter(({ entry }) => entry);
      return { id, sights, values: sights.map(({ entry }) => entry) };
    });
    const group = groupsOf(loaded).includes(state.group) ? state.group : null; // the runs that had it may be gone
    const wanted = known.filter(
      ({ id, values }) => group === null || id === probe || values.some((entry) => entry.group === group),
    );
    const shown = ordered(wanted, state.order);
    for (const { id, sights } of shown) {
      if (!this.items.has(id)) this.#add(id);
      this.items.get(id).update(sights, state.order, id === probe, store.names);
    }
    this.order = shown.map(({ id }) => id);
    for (const [id, item] of this.items) if (!this.order.includes(id)) this.#remove(id, item);
    arrange(
      this.root,
      this.order.map((id) => this.items.get(id).root),
    );
    this.#reveal(probe, `${state.order} ${state.group}`);
    for (const item of this.visible) {
      const run = loaded.find((each) => each.probes.has(item.id));
      if (run) item.draw(store.thumbnail(run, item.id, step));
    }
  }

  #add(id) {
    const item = new Item(id, (chosen) => this.store.set({ probe: chosen }));
    this.items.set(id, item);
    this.observer.observe(item.root);
  }

  #remove(id, item) {
    this.observer.unobserve(item.root);
    this.visible.delete(item);
    this.items.delete(id);
  }

  /** Show the top of a new order, else the probe that was chosen. */
  #reveal(probe, order) {
    const anew = this.listed !== undefined && this.listed !== order;
    this.listed = order;
    if (anew) this.root.scrollTop = 0;
    if (anew || this.revealed === probe) return;
    this.revealed = probe;
    this.root.setAttribute("aria-activedescendant", `option_${probe}`);
    this.items.get(probe)?.root.scrollIntoView({ block: "nearest" });
  }

  /** Choose the probe that is so many further on in the strip. @param {number} by */
  move(by) {
    const index = this.order.indexOf(this.store.probe) + by;
    if (index >= 0 && index < this.order.length) this.store.set({ probe: this.order[index] });
  }
}
