import assert from "node:assert/strict";
import test from "node:test";

import { distance, load, reference, skip } from "./reference.mjs";

const { COLORMAPS, SIGNED_COLORMAPS, countMissing, limitOf, paint, probability, short, tableOf } =
  await load("colors.js");

test("colours are those of keras_cam.colors", { skip }, () => {
  assert.deepEqual(Object.keys(reference.colors).sort(), [...COLORMAPS, ...SIGNED_COLORMAPS].sort());
  for (const [name, table] of Object.entries(reference.colors)) {
    const most = SIGNED_COLORMAPS.includes(name) ? 0 : 11; // 17 colours stand for 256
    assert.ok(distance(tableOf(name), table) <= most, `${name}: ${distance(tableOf(name), table)}`);
  }
  assert.equal(COLORMAPS[0], reference.defaults[0]);
  assert.equal(SIGNED_COLORMAPS[0], reference.defaults[1]);
});

test("opacity rises up to half heat, and what is not positive is clear", () => {
  const pixels = paint(Float32Array.of(0, -3, 1, 2, 4, 9, NaN), 4, "plasma", 0.6, false);
  const opacities = [...pixels].filter((_, index) => index % 4 === 3);
  assert.deepEqual(opacities, [0, 0, 76, 153, 153, 153, 0]); // 255 * 0.6 * (0, 0, 1/2, 1, 1, 1, 0)
  assert.deepEqual([...pixels.slice(16, 19)], [...tableOf("plasma").slice(-3)]);
});

test("signed heat has zero in the middle", () => {
  const pixels = paint(Float32Array.of(-2, 0, 2), 2, "blue_orange", 1, true);
  assert.deepEqual([...pixels], [0, 52, 150, 255, 0, 0, 0, 0, 166, 54, 0, 255]);
});

test("nothing is drawn where there is nothing to scale by", () => {
  assert.equal(
    Math.max(...paint(Float32Array.of(-1, 0, -2), limitOf([Float32Array.of(-1, 0, -2)], false), "plasma", 1, false)),
    0,
  );
});

test("the scale is the largest value, of signed maps the largest magnitude", () => {
  const maps = [Float32Array.of(1, -5, NaN), Float32Array.of(3, Infinity)];
  assert.equal(limitOf(maps, false), 3);
  assert.equal(limitOf(maps, true), 5);
  assert.equal(countMissing(maps[0]) + countMissing(maps[1]), 2);
});

test("numbers in few characters", () => {
  assert.deepEqual([0, 12.345, -0.5, 1e-5, 123456, NaN].map(short), ["0", "12.3", "-0.5", "1.0e-5", "1.2e+5", "–"]);
  assert.deepEqual([0, 1, 0.996, 0.001, 0.934, NaN].map(probability), ["0.00", "1.00", ">0.99", "<0.01", "0.93", "–"]);
});
