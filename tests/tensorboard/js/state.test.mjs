import assert from "node:assert/strict";
import test from "node:test";

import { load } from "./reference.mjs";

const { hashOf, initialState, stateOf } = await load("state.js");
const { isTaken } = await load("keys.js");

const full = {
  runs: ["a/cam", "b,c&d=1/cam", "<script>🦊 عربي%20"],
  probe: "probe_07",
  epoch: 12,
  classes: ["predicted", 3, "true", -1],
  colors: "cividis",
  signedColors: "purple_green",
  opacity: 0.35,
  box: false,
  threshold: 0.5,
  scale: "run",
  signed: true,
  smooth: false,
  truth: false,
  order: "outside",
  group: "odd & even",
};

test("a link restores everything", () => assert.deepEqual(stateOf(hashOf(full)), full));

test("a link holds only what differs from the start", () => {
  assert.equal(hashOf(initialState()), "#keras_cam");
  assert.equal(
    hashOf({ ...initialState(), epoch: 3, signed: true }),
    "#keras_cam&p.keras_cam.epoch=3&p.keras_cam.signed=1",
  );
});

test("no run and no class can be chosen", () => {
  const state = stateOf(hashOf({ ...initialState(), runs: [], classes: [] }));
  assert.deepEqual([state.runs, state.classes], [[], []]);
});

test("what makes no sense is as at the start", () => {
  const parts = [
    "epoch=x",
    "probe=../../etc",
    "opacity=7",
    "opacity=1e9",
    "threshold=-1",
    "box=maybe",
    "colors=__proto__",
    "scale=",
    "classes=a,2,%",
    "order=constructor",
    "toString=1",
    "runs",
  ];
  const state = stateOf(
    `#keras_cam&${parts.map((part) => `p.keras_cam.${part}`).join("&")}&p.other.epoch=4&tagFilter=a`,
  );
  assert.deepEqual(state, { ...initialState(), classes: [2], runs: [] });
});

test("keys of a control stay with it", () => {
  const on = (...own) => ({ matches: (selector) => selector.split(/, (?![^(]*\))/).some((part) => own.includes(part)) });
  assert.equal(isTaken(on("select"), "ArrowLeft"), true);
  assert.equal(isTaken(on("button"), " "), true);
  assert.equal(isTaken(on("button"), "ArrowLeft"), false);
  const opacity = on("input", "input[type=range]", "input[type=range]:not(#epoch)");
  assert.equal(isTaken(opacity, "ArrowUp"), true);
  assert.equal(isTaken(opacity, "3"), false);
  assert.equal(isTaken(opacity, " "), false, "a slider has no use for it");
  assert.equal(isTaken(on("input", "input:not([type=range])"), " "), true, "a check box has");
});

test("on the slider of the epochs keys do what the line of help says", () => {
  const epochs = { matches: (selector) => ["input", "input[type=range]"].includes(selector) };
  for (const key of ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", " ", "3"])
    assert.equal(isTaken(epochs, key), false, key);
});
