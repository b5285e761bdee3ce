import assert from "node:assert/strict";
import test from "node:test";

import { load } from "./reference.mjs";

const {
  Run,
  allProbes,
  allSteps,
  differ,
  groupsOf,
  isWrong,
  measure,
  measuredClass,
  nameOf,
  numbersByMap,
  ordered,
  probabilityOf,
  shortened,
} = await load("records.js");
const { pathOf } = await load("curve.js");
const { resolve } = await load("panels.js");

const entry = (probe, more = {}) => ({
  probe,
  group: "",
  name: probe,
  true: 0,
  predicted: 0,
  classes: [0, 1],
  p: [0.7, 0.2],
  boxes: [],
  numbers: {},
  ...more,
});
const run = (epochs) => new Run("r", { epochs: epochs.map(([step, ...probes]) => ({ step, probes })), dropped: 0 });

test("a run knows each probe at each epoch", () => {
  const a = run([
    [0, entry("probe_2")],
    [4, entry("probe_2", { predicted: 1 }), entry("probe_10")],
  ]);
  assert.equal(a.at("probe_2", 3).entry.predicted, 0);
  assert.equal(a.at("probe_2", 4).entry.predicted, 1);
  assert.equal(a.at("probe_10", 3), undefined);
  assert.deepEqual(allProbes([a]), ["probe_2", "probe_10"]);
  assert.deepEqual(allSteps([a, run([[2], [4]])]), [0, 2, 4]);
});

test("a picture holds until the probe shows another", () => {
  const worst = run([
    [0, entry("probe_0")],
    [1, entry("probe_0")],
    [2, entry("probe_0", { name: "other" })],
    [3, entry("probe_0", { name: "other", predicted: 1 })],
    [4, entry("probe_0", { name: "other", picture: 4 })],
  ]);
  assert.deepEqual(
    [0, 1, 2, 3, 4, 9].map((step) => worst.pictureStep("probe_0", step)),
    [0, 0, 2, 2, 4, 4],
  );
});

test("probes by what they are of interest for, unknown ones last, ties as stored", () => {
  const make = (id, numbers, more) => ({ id, values: [entry(id, { numbers, ...more })] });
  const probes = [
    make("a", { moved_since_last: 0.1, energy_inside: 0.2 }),
    make("b", {}, { predicted: 1, p: [0.1, 0.6] }),
    make("c", { moved_since_last: 0.9, energy_inside: 0.9 }, { predicted: 1, p: [0.1, 0.8] }),
    make("d", { moved_since_last: 0.1 }),
  ];
  const ids = (order) =>
    ordered(probes, order)
      .map(({ id }) => id)
      .join("");
  assert.deepEqual(["stored", "moved", "outside", "wrong", "toString"].map(ids), [
    "abcd",
    "cadb",
    "acbd",
    "cbad",
    "abcd",
  ]);
  assert.equal(measure("outside", [...probes[0].values, ...probes[2].values]), 0.8);
  assert.ok(Number.isNaN(measure("wrong", probes[0].values)));
});

test("right, wrong and unknown", () => {
  assert.deepEqual([entry("a"), entry("a", { predicted: 1 }), entry("a", { true: null })].map(isWrong), [
    false,
    true,
    null,
  ]);
});

test("probabilities of classes that are stored, and of the true one", () => {
  const one = entry("a", { true: 5, p: [0.7, null], p_true: 0.05 });
  assert.deepEqual(
    [0, 1, 5, 6].map((index) => probabilityOf(one, index)),
    [0.7, NaN, 0.05, NaN],
  );
});

test("probabilities of the most probable classes, mapped or not", () => {
  const one = entry("a", { classes: [4], p: [0.2], true: 4, p_true: 0.2, predicted: 7, top: [[7, 0.6], [4, 0.2]] }); // prettier-ignore
  assert.deepEqual(
    [4, 7, 1].map((index) => probabilityOf(one, index)),
    [0.2, 0.6, NaN],
  );
  assert.equal(measure("wrong", [one]), 0.6);
});

test("where the predicted class has no map the first stored one stands for it", () => {
  const one = entry("a", { classes: [4, 2], predicted: 7, true: 2 });
  assert.deepEqual(resolve(["predicted"], one), [4]);
  assert.deepEqual(resolve(["predicted", "true", 9], one), [4, 2, 9]);
  assert.deepEqual(resolve(["predicted"], entry("a", { predicted: 1 })), [1]);
  assert.deepEqual(resolve(["predicted"], entry("a", { classes: [] })), []);
});

test("numbers by the class of the map that they are about, with the labels of their run", () => {
  const numbers = { concentration: 0.5, sharpness: 0.25, energy_inside: 0.75, iou: NaN };
  const measures = {
    concentration: { label: "how small", about: "heat" },
    energy_inside: { label: "energy inside the boxes", about: "inside" },
    sharpness: { label: "x".repeat(50), about: null },
  };
  const named = new Run("r", { epochs: [{ step: 0, measures, probes: [] }, { step: 1, probes: [] }] }); // prettier-ignore
  assert.deepEqual(numbersByMap(entry("a", { numbers, heat_of: 1, inside_of: 0 }), named.measures), [
    [null, [[`${"x".repeat(39)}…`, 0.25]]],
    [1, [["how small", 0.5]]],
    [0, [["energy inside the boxes", 0.75]]],
  ]);
});

test("numbers of a log of old, which has no labels, go by their names", () => {
  const numbers = { concentration: 0.5, probability_of_true_class: 0.25, energy_inside: 0.75, iou: NaN };
  const { measures } = run([[0, entry("a")]]);
  assert.deepEqual(numbersByMap(entry("a", { numbers, heat_of: 1, inside_of: 0 }), measures), [
    [null, [["probability of true class", 0.25]]],
    [1, [["concentration", 0.5]]],
    [0, [["energy inside", 0.75]]],
  ]);
  const [, about] = numbersByMap(entry("a", { numbers, heat_of: 1, inside_of: 1 }), measures);
  assert.deepEqual(about, [1, [["concentration", 0.5], ["energy inside", 0.75]]]); // prettier-ignore
  assert.equal(numbersByMap(entry("a", { numbers }), measures)[0][1].length, 3, "nor which map they are about");
  const two = [
    entry("a", { numbers: { energy_inside: 0.9, moved_since_last: 0.9 }, inside_of: 3, heat_of: 4 }),
    entry("a", { numbers: { energy_inside: 0.1, moved_since_last: 0.1 }, inside_of: 5, heat_of: 6 }),
  ];
  assert.deepEqual(
    ["outside", "moved", "wrong", "stored"].map((order) => measuredClass(order, two)),
    [5, 4, null, null],
  );
});

test("pictures that are not the same in two runs", () => {
  const same = [entry("a", { image: "0a" }), entry("a", { image: "0a", true: 1 })];
  assert.deepEqual(
    [same, [...same, entry("a", { image: "0b" })], [entry("a"), entry("a")], [same[0], entry("a", { true: 1 })]].map(
      differ,
    ),
    [false, true, false, true],
  );
  const [short, long] = [entry("a", { image: "89abcdef" }), entry("a", { image: "0123456789abcdef" })];
  assert.equal(differ([short, long]), false, "fingerprints of an older log are of another kind");
  assert.equal(differ([short, { ...long, true: 1 }]), true);
});

test("groups of the runs that are there", () => {
  const grouped = run([[0, entry("probe_0", { group: "new" }), entry("probe_1"), entry("probe_2", { group: "old" })]]);
  assert.deepEqual(groupsOf([grouped, run([[0, entry("probe_0")]])]), ["new", "old"]);
  assert.deepEqual(groupsOf([]), []);
});

test("names of others are cut, and turn nothing round", () => {
  assert.equal(shortened("x".repeat(10240), 10), "xxxxxxxxx…");
  assert.equal(shortened("🦊".repeat(20), 3), "🦊🦊…");
  assert.equal(shortened("a\u202eb\u2066c"), "abc");
  assert.equal(nameOf(entry("a", { names: { 1: "<b>" } }), 1), "<b>");
  assert.equal(nameOf(entry("a"), 7), "class 7");
  assert.equal(nameOf(entry("a"), 7, { names: { 7: "cat" } }), "cat");
  assert.equal(nameOf(entry("a", { names: { 7: "dog" } }), 7, { names: { 7: "cat" } }), "dog");
  const top = run([
    [0, entry("probe_0", { names: { 3: "cat" } })],
    [1, entry("probe_0", { names: { 4: "dog" } })],
  ]);
  assert.deepEqual(
    [3, 4, 5].map((index) => nameOf(top, index)),
    ["cat", "dog", "class 5"],
  );
});

test("a curve has gaps, and a point alone is a dot", () => {
  const points = [
    [0, 1],
    [1, 2],
    [2, NaN],
    [3, 4],
    [4, NaN],
    [5, 6],
    [6, 7],
  ].map(([x, y]) => ({ x, y }));
  assert.equal(pathOf(points), "M0.0 1.0 L1.0 2.0 M3.0 4.0 h0 M5.0 6.0 L6.0 7.0");
});
