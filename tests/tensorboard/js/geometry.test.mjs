import assert from "node:assert/strict";
import test from "node:test";

import { distance, load, reference, skip } from "./reference.mjs";

const { boxesOf, cellAt, fieldOf, iou, largestBox, place } = await load("geometry.js");
const row = (values, placement, length, smooth = true) => [
  ...place(Float32Array.from(values), [1, values.length], [1, length], [[0, 1], placement], smooth),
];

test("between two centres values are linear, beyond them repeated", () => {
  assert.deepEqual(row([0, 1], [0, 2], 4), [0, 0.5, 1, 1]);
  assert.deepEqual(row([0, 1], [0.5, 2], 4), [0, 0.25, 0.75, 1]);
});

test("cells change halfway between their centres", () => {
  assert.deepEqual(row([1, 2, 3], [0.5, 2], 6, false), [1, 1, 2, 2, 3, 3]);
  assert.deepEqual(row([1, 2], [4, 3], 8, false), [1, 1, 1, 1, 1, 1, 2, 2]);
});

test("several cells in a pixel are averaged", () => {
  assert.deepEqual(row([1, 3, 5, 9], [-0.25, 0.5], 2), [2, 7]);
});

test("what is not a number touches only the pixels that it has a share in", () => {
  assert.deepEqual(row([NaN, 1, 2], [0, 2], 5), [NaN, NaN, 1, 1.5, 2]);
  assert.deepEqual(row([1, Infinity], [0, 2], 3), [1, NaN, NaN]);
  const placed = place(
    Float32Array.of(NaN, 0, 0, 4),
    [2, 2],
    [2, 2],
    [
      [0, 1],
      [0, 1],
    ],
    true,
  );
  assert.deepEqual([...placed], [NaN, 0, 0, 4]);
});

test("maps lie where keras_cam.imaging.resample.place puts them", { skip }, () => {
  assert.ok(reference.place.length >= 8);
  for (const { map, shape, size, cells, smooth, placed } of reference.place) {
    const ours = place(Float32Array.from(map), shape, size, cells, smooth);
    assert.ok(distance(ours, placed) < 1e-5, JSON.stringify({ shape, size, cells, smooth }));
  }
});

test("boxes are those of keras_cam.imaging.boxes.find_boxes", { skip }, () => {
  assert.ok(reference.boxes.length >= 8);
  for (const { heat, size, threshold, box } of reference.boxes) {
    const ours = largestBox(Float32Array.from(heat), size, threshold);
    assert.deepEqual(ours && [ours.left, ours.top, ours.right, ours.bottom], box);
  }
});

test("the largest part counts, corners that touch belong together", () => {
  const heat = Float32Array.of(0, 0, 0, 10, 0, 5, 0, 0, 0, 0, 5, 0);
  assert.deepEqual(largestBox(heat, [3, 4], 0.2), { left: 1, top: 1, right: 3, bottom: 3 });
  assert.deepEqual(largestBox(heat, [3, 4], 0.6), { left: 3, top: 0, right: 4, bottom: 1 });
  assert.equal(largestBox(Float32Array.of(-1, 0, NaN, -2), [2, 2], 0.2), null);
});

test("the cell at a pixel is the one with the nearest centre, and sees its field", () => {
  assert.equal(cellAt(11, 4, [4, 16]), 0);
  assert.equal(cellAt(12, 4, [4, 16]), 1);
  assert.deepEqual([cellAt(-5, 4, [4, 16]), cellAt(999, 4, [4, 16])], [0, 3]);
  const field = fieldOf(
    [1, 2],
    [
      [4, 16],
      [0, 8],
    ],
    [10, 20],
  );
  assert.deepEqual(field, { left: 16.5 - 10, top: 20.5 - 5, right: 16.5 + 10, bottom: 20.5 + 5 });
  assert.equal(
    fieldOf(
      [0, 0],
      [
        [4, 16],
        [0, 8],
      ],
      [0, 0],
    ),
    null,
  );
});

test("boxes overlap by their shared share", () => {
  const [a, b] = boxesOf([
    [0, 0, 4, 2],
    [2, 0, 6, 2],
  ]);
  assert.ok(Math.abs(iou(a, b) - 1 / 3) < 1e-12);
  assert.equal(iou(a, { left: 5, top: 0, right: 6, bottom: 2 }), 0);
});

test("what is no box is left out", () => {
  assert.deepEqual(boxesOf([[0, 0, 0, 2], [1, 2, 3], "x", null, [0, 0, null, 2], [1, 2, 3, 4]]), [
    { left: 1, top: 2, right: 3, bottom: 4 },
  ]);
  assert.deepEqual(boxesOf(undefined), []);
});
