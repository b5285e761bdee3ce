import assert from "node:assert/strict";
import test from "node:test";

import { load } from "./reference.mjs";

const { Run, allProbes, allSteps, isWrong, measure, nameOf, ordered, probabilityOf, shortened } =
  await load("records.js");
const { pathOf } = await load("curve.js");

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

test("names of others are cut, and turn nothing round", () => {
  assert.equal(shortened("x".repeat(10240), 10), "xxxxxxxxx…");
  assert.equal(shortened("🦊".repeat(20), 3), "🦊🦊…");
  assert.equal(shortened("a\u202eb\u2066c"), "abc");
  assert.equal(nameOf(entry("a", { names: { 1: "<b>" } }), 1), "<b>");
  assert.equal(nameOf(entry("a"), 7), "class 7");
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
