import assert from "node:assert/strict";
import test from "node:test";

import { load } from "./reference.mjs";

const { Cache, Queue, ServerError, decodeMaps, lastAt } = await load("data.js");

/** A reply of ./maps: length of the header, header, numbers. */
function reply(header, numbers) {
  let json = new TextEncoder().encode(JSON.stringify(header));
  const padding = (4 - ((4 + json.length) % 4)) % 4;
  const bytes = new Uint8Array(4 + json.length + padding + 4 * numbers.length);
  new DataView(bytes.buffer).setUint32(0, json.length, true);
  bytes.set(json, 4);
  bytes.set(new Uint8Array(Float32Array.from(numbers).buffer), 4 + json.length + padding);
  return bytes.buffer;
}

test("maps come out of a reply as they went in, whatever the header's length", () => {
  for (const note of ["", "a", "ab", "abc"]) {
    const steps = [
      { step: 3, shape: [2, 1, 2], classes: [5, 7], offset: 0 },
      { step: 9, shape: [1, 2, 1], classes: [7], offset: 4 },
    ];
    const series = decodeMaps(reply({ v: 1, note, steps, dropped: 2 }, [1, 2, 3, 4, 5, NaN]));
    assert.deepEqual(
      series.steps.map((step) => step.maps.map((map) => [...map])),
      [
        [
          [1, 2],
          [3, 4],
        ],
        [[5, NaN]],
      ],
    );
    assert.deepEqual([series.dropped, series.steps[1].step], [2, 9]);
  }
});

test("a reply that is cut off is an error in words", () => {
  const whole = reply({ steps: [{ step: 0, shape: [1, 2, 2], offset: 0 }] }, [1, 2, 3, 4]);
  for (const length of [0, 3, 20, whole.byteLength - 4]) {
    assert.throws(() => decodeMaps(whole.slice(0, length)), ServerError);
  }
});

test("the last record at or before a step", () => {
  const records = [{ step: 2 }, { step: 4 }, { step: 9 }];
  assert.deepEqual(
    [1, 2, 3, 4, 8, 99].map((step) => lastAt(records, step)?.step),
    [undefined, 2, 2, 4, 4, 9],
  );
  assert.equal(lastAt([], 3), undefined);
});

test("a queue runs a few at a time, urgent ones first, of these the latest", async () => {
  const queue = new Queue(1);
  const order = [];
  const task = (name) => async () => order.push(name);
  const all = [
    ["first", 0],
    ["old", 1],
    ["new", 1],
    ["urgent", 2],
    ["last", 0],
  ].map(([name, urgency]) => queue.add(task(name), urgency));
  await Promise.all(all);
  assert.deepEqual(order, ["first", "urgent", "new", "old", "last"]);
});

test("a queue is never wider than it may be, and goes on after an error", async () => {
  const queue = new Queue(2);
  let [now, most] = [0, 0];
  const task = async () => {
    most = Math.max(most, ++now);
    await new Promise((done) => setTimeout(done, 1));
    now--;
    throw new Error("no");
  };
  const results = await Promise.allSettled(Array.from({ length: 7 }, () => queue.add(task, 0)));
  assert.deepEqual(
    results.map(({ status }) => status),
    Array(7).fill("rejected"),
  );
  assert.equal(most, 2);
});

test("what is given up is taken out of the queue", async () => {
  const queue = new Queue(1);
  const controller = new AbortController();
  let ran = false;
  const slow = queue.add(() => new Promise((done) => setTimeout(done, 5)), 0);
  const waiting = queue.add(async () => (ran = true), 0, controller.signal);
  controller.abort(new Error("stale"));
  await assert.rejects(waiting, /stale/);
  await slow;
  await queue.add(async () => {}, 0);
  await new Promise((done) => setTimeout(done, 5));
  assert.equal(ran, false);
});

test("a cache forgets what was used longest ago", () => {
  const dropped = [];
  const cache = new Cache(10, (value) => dropped.push(value));
  cache.set("a", 1, 4);
  cache.set("b", 2, 4);
  cache.get("a");
  cache.set("c", 3, 4);
  assert.deepEqual([cache.get("a"), cache.get("b"), cache.get("c"), cache.sum], [1, undefined, 3, 8]);
  cache.set("a", 5, 1);
  assert.deepEqual([cache.sum, dropped], [5, [2, 1]]);
  cache.set("large", 6, 99);
  assert.equal(cache.get("large"), 6);
});
