// What is shown and how: runs, classes, and the settings of the drawing.

import { COLORMAPS, classColor, runColor, SIGNED_COLORMAPS } from "./colors.js";
import { element, named, write } from "./dom.js";
import { groupsOf, nameOf, shortened } from "./records.js";
import { PREDICTED, TRUE } from "./state.js";

const MOST_CHIPS = 12; // more classes than these: those of the epoch that is shown only

/** A setting that is one of several. @param {Record<string, string>} choices value -> words */
function selection(store, name, words, choices) {
  const options = Object.entries(choices).map(([value, textContent]) => element("option", { value, textContent }));
  const select = element("select", { id: name, onchange: () => store.set({ [name]: select.value }) }, ...options);
  const root = element("label", { class: "setting" }, element("span", { textContent: words }), select);
  return { root, select, update: () => (select.value = store.state[name]) };
}

/** A setting that is on or off; `sample` shows how what it is about is drawn. */
function tick(store, name, words, sample = "") {
  const box = element("input", { id: name, type: "checkbox", onchange: () => store.set({ [name]: box.checked }) });
  const shown = sample ? element("i", { class: `sample ${sample}` }) : "";
  const root = element("label", { class: "setting" }, box, shown, element("span", { textContent: words }));
  return { root, update: () => (box.checked = store.state[name]) };
}

function share(store, name, words, max) {
  const input = element("input", {
    id: name,
    type: "range",
    min: 0,
    max,
    step: 0.01,
    oninput: () => store.set({ [name]: Number(input.value) }),
  });
  const value = element("output", { for: name });
  const root = element("label", { class: "setting" }, element("span", { textContent: words }), input, value);
  const update = () => {
    input.value = String(store.state[name]);
    write(value, store.state[name].toFixed(2));
  };
  return { root, input, update };
}

const plain = (names) => Object.fromEntries(names.map((name) => [name, name.replaceAll("_", " – ")]));

/** How maps are drawn. @param {import("./store.js").Store} store */
export function makeSettings(store) {
  const colors = selection(store, "colors", "Colours", plain(COLORMAPS));
  const signedColors = selection(store, "signedColors", "Colours", plain(SIGNED_COLORMAPS));
  const scale = selection(store, "scale", "Scale", { map: "each map", epoch: "all classes", run: "all epochs" });
  scale.root.title =
    "What the full colour stands for: the maximum of each map, of all classes at this epoch, or of all epochs";
  const threshold = share(store, "threshold", "above", 0.99);
  threshold.root.title = "Share of the map's maximum";
  const box = tick(store, "box", "Box", "found");
  const boxed = element("span", { class: "pair" }, box.root, threshold.root);
  const opacity = share(store, "opacity", "Opacity", 1);
  const ticks = [
    tick(store, "truth", "True boxes", "truth"),
    tick(store, "smooth", "Smooth"),
    tick(store, "signed", "Signed"),
  ];
  const parts = [colors, signedColors, scale, opacity, box, threshold, ...ticks];
  const roots = [colors.root, signedColors.root, scale.root, opacity.root, boxed, ...ticks.map(({ root }) => root)];
  const root = element("div", { class: "settings", role: "group", "aria-label": "Drawing" }, ...roots);
  const update = () => {
    for (const part of parts) part.update();
    colors.root.hidden = store.state.signed;
    signedColors.root.hidden = !store.state.signed;
    threshold.input.disabled = !store.state.box;
  };
  return { root, update };
}

/** Which runs are shown. @param {import("./store.js").Store} store */
export function makeRuns(store) {
  const root = element("div", { class: "runs", role: "group", "aria-label": "Runs" });
  let known = "";
  const choose = () => {
    const boxes = [...root.querySelectorAll("input")];
    store.set({ runs: boxes.filter((box) => box.checked).map((box) => store.names[Number(box.value)]) });
  };
  const line = (name, index) => {
    const swatch = element("span", { class: "swatch" });
    swatch.style.background = runColor(index);
    return element(
      "label",
      {},
      element("input", { type: "checkbox", value: index, onchange: choose }),
      swatch,
      named(shortened(name)),
    );
  };
  const update = () => {
    const names = store.names ?? [];
    if (known !== JSON.stringify(names)) root.replaceChildren(...names.map(line));
    known = JSON.stringify(names);
    const { shown } = store;
    for (const box of root.querySelectorAll("input")) box.checked = shown.includes(names[Number(box.value)]);
  };
  return { root, update };
}

/** In which order probes are listed, and of which group. @param {import("./store.js").Store} store */
export function makeOrder(store) {
  const order = selection(store, "order", "Order", {
    stored: "as stored",
    moved: "moved most",
    outside: "energy outside the boxes",
    wrong: "most sure and wrong",
  });
  const select = element("select", {
    id: "group",
    onchange: () => store.set({ group: select.value.slice(1) || null }),
  });
  const group = element("label", { class: "setting" }, element("span", { textContent: "Group" }), select);
  let known = "";
  const update = () => {
    order.update();
    const groups = groupsOf(store.loaded);
    if (known !== JSON.stringify(groups)) {
      const option = (name) => element("option", { value: `=${name}`, textContent: shortened(name, 60) });
      select.replaceChildren(element("option", { value: "", textContent: "all" }), ...groups.map(option));
    }
    known = JSON.stringify(groups);
    group.hidden = groups.length < 2 && store.state.group === null;
    select.value = groups.includes(store.state.group) ? `=${store.state.group}` : "";
  };
  return { root: element("div", { class: "order" }, order.root, group), update };
}

/**
 * The classes of a probe over all epochs and runs, with the colour that each has on the page: the same for all probes
 * unless there are many classes; those that are mapped, and those that were among the most probable.
 * @param {import("./store.js").Store} store
 * @returns {Map<number, {color: string, rank: number, mapped: boolean}>}
 */
export function classesOf(store) {
  const sightings = store.loaded.flatMap((run) => run.probes.get(store.probe) ?? []);
  const mapped = new Set(sightings.flatMap(({ entry }) => entry.classes));
  const here = sorted([...mapped, ...sightings.flatMap(({ entry }) => (entry.top ?? []).map(([index]) => index))]);
  const named = sorted([...here, ...store.loaded.flatMap((run) => Object.keys(run.names).map(Number))]);
  const ranked = named.length > MOST_CHIPS ? here : named;
  return new Map(
    here
      .map((index) => [index, ranked.indexOf(index)])
      .map(([index, rank]) => [index, { rank, color: classColor(rank), mapped: mapped.has(index) }]),
  );
}

const sorted = (indices) => [...new Set(indices)].sort((a, b) => a - b);

/** Which classes are shown. @param {import("./store.js").Store} store */
export function makeChips(store) {
  const root = element("div", { class: "chips", role: "group", "aria-label": "Classes" });
  let known = "";
  const toggle = (token) => {
    const { classes } = store.state;
    store.set({ classes: classes.includes(token) ? classes.filter((other) => other !== token) : [...classes, token] });
  };
  const chip = ([token, name, color], index) => {
    const dot = element("span", { class: "dot", hidden: !color });
    dot.style.background = color ?? "";
    const key = index < 9 ? element("kbd", { textContent: index + 1, "aria-hidden": "true" }) : "";
    const button = element(
      "button",
      { type: "button", class: "chip", "data-token": token, onclick: () => toggle(token) },
      dot,
      named(name),
      key,
    );
    if (index < 9) button.setAttribute("aria-keyshortcuts", String(index + 1));
    return button;
  };
  const update = (classes) => {
    const entries = store.loaded.map((run) => run.at(store.probe, store.step)?.entry).filter(Boolean);
    const all = [...classes.keys()].filter((index) => classes.get(index).mapped);
    const now = (index) =>
      store.state.classes.includes(index) || entries.some((entry) => entry.classes.includes(index));
    const listed = all.length > MOST_CHIPS ? all.filter(now) : all;
    const namer = (index) =>
      nameOf(
        store.loaded.find((run) => run.names[index] !== undefined),
        index,
      );
    const chips = [
      [PREDICTED, "Predicted"],
      [TRUE, "True"],
      ...listed.map((index) => [index, namer(index), classes.get(index).color]),
    ];
    if (known !== JSON.stringify(chips)) {
      const focused = document.activeElement?.dataset?.token;
      root.replaceChildren(...chips.map(chip));
      if (focused !== undefined) [...root.children].find((button) => button.dataset.token === focused)?.focus();
    }
    known = JSON.stringify(chips);
    chips.forEach(([token], index) =>
      root.children[index].setAttribute("aria-pressed", String(store.state.classes.includes(token))),
    );
  };
  return { root, update, press: (index) => root.children[index]?.click() };
}
