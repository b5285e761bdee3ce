// The modules under test, and what Python says of the same sums (written by tests/tensorboard/test_dashboard_modules.py).

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const folder = process.env.KERAS_CAM_STATIC
  ? pathToFileURL(`${process.env.KERAS_CAM_STATIC}/`)
  : new URL("../../../keras_cam/tensorboard/static/", import.meta.url);

export const load = (name) => import(new URL(name, folder));

const path = process.env.KERAS_CAM_REFERENCE;
export const reference = path ? JSON.parse(readFileSync(path, "utf8")) : null;
export const skip = reference ? false : "no numbers by Python: run pytest tests/tensorboard/test_dashboard_modules.py";

/** The largest distance between two lists of numbers; NaN and null are the same. */
export function distance(a, b) {
  if (a.length !== b.length) return Infinity;
  return Math.max(
    0,
    ...Array.from(a, (value, index) => {
      const [missing, alsoMissing] = [
        Number.isNaN(value) || value === null,
        Number.isNaN(b[index]) || b[index] === null,
      ];
      return missing || alsoMissing ? (missing === alsoMissing ? 0 : Infinity) : Math.abs(value - b[index]);
    }),
  );
}
