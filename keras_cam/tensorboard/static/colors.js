// Colours of heat, runs and classes, and the scales between values and colours.

/** Seventeen colours of each map, evenly spaced; plasma and cividis tell their ends apart for colour-blind eyes. */
const ANCHORS = {
  plasma:
    "0d0887 310597 4c02a1 6600a7 7e03a8 9511a1 aa2395 bc3587 cc4778 " +
    "d9586a e56b5d f07f4f f89441 fdab33 fdc328 f9dd25 f0f921",
  viridis:
    "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c " +
    "1f9f88 27ad81 3dbc74 5cc863 81d34d aadc32 d5e21a fde725",
  cividis:
    "00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 " +
    "8b8778 9a9376 aaa073 bbad6d ccba64 ddc858 efd748 fee838",
  inferno:
    "000004 0b0724 210c4a 3d0965 57106e 71196e 8a226a a32c61 bc3754 " +
    "d04545 e35933 f1711f f98c0a fcaa0f f9c932 f2e865 fcffa4",
  turbo:
    "30123b 4040a2 466be3 4294ff 28bceb 18ddc2 32f298 6dfe62 a4fc3c " +
    "cbed34 ecd13a fdae35 fb8122 ec530f d23105 ac1701 7a0403",
};

/** From -1 through a neutral 0 to 1. */
const SIGNED_ANCHORS = {
  blue_orange: "003496 4292ff f2f2f2 ff8c1e a63600",
  purple_green: "4a006e aa6ed2 f2f2f2 5fbe5a 006928",
};

/** Okabe and Ito's colours and some more, which hold on white and on dark gray; then they start again. */
const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6bb1", "#7f8c1c"];
const DASHES = ["", "6 3", "2 3", "8 3 2 3"];

export const COLORMAPS = Object.keys(ANCHORS);
export const SIGNED_COLORMAPS = Object.keys(SIGNED_ANCHORS);

/** Colour of the n-th run. */
export const runColor = (index) => PALETTE[index % PALETTE.length];

/** Colour of the n-th class; the first runs have others. */
export const classColor = (index) => PALETTE[(index + 2) % PALETTE.length];

/** Dashes of the n-th line of a curve, so that it does not take colours to tell them apart. */
export const dashesOf = (index) => DASHES[Math.floor(index / 2) % DASHES.length];

const anchorsOf = (name) => (ANCHORS[name] ?? SIGNED_ANCHORS[name]).split(" ");
const tables = new Map();

/**
 * All the colours of a map, lowest value first, three bytes each: 256, or 511 from -1 to 1.
 * @param {string} name
 * @returns {Uint8Array}
 */
export function tableOf(name) {
  if (!tables.has(name)) {
    const anchors = anchorsOf(name).map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
    const count = name in SIGNED_ANCHORS ? 511 : 256;
    const table = new Uint8Array(3 * count);
    for (let level = 0; level < count; level++) {
      const place = (level / (count - 1)) * (anchors.length - 1);
      const below = Math.min(Math.floor(place), anchors.length - 2);
      for (let part = 0; part < 3; part++) {
        const [low, high] = [anchors[below][part], anchors[below + 1][part]];
        table[3 * level + part] = Math.round(low + (place - below) * (high - low));
      }
    }
    tables.set(name, table);
  }
  return tables.get(name);
}

/** The colours of a map as a gradient for a style sheet, lowest value left. */
export const gradientOf = (name) =>
  `linear-gradient(to right, ${anchorsOf(name)
    .map((hex) => `#${hex}`)
    .join(", ")})`;

/**
 * What is drawn as 1: the largest value of some maps, where signed the largest magnitude; 0 where there is none.
 * @param {Iterable<Float32Array>} maps
 * @param {boolean} signed
 */
export function limitOf(maps, signed) {
  let limit = 0;
  for (const map of maps) {
    for (const value of map) {
      const size = signed ? Math.abs(value) : value;
      if (size > limit && size < Infinity) limit = size;
    }
  }
  return limit;
}

/**
 * Values as colours that lie over a picture, as keras_cam.overlay draws them: opacity rises with the heat, up to
 * `opacity` at half heat. What is not a number, and where unsigned what is not positive, is left clear.
 * @param {Float32Array} values
 * @param {number} limit what is drawn as 1
 * @param {string} name of a colour map, a signed one where `signed`
 * @param {number} opacity
 * @param {boolean} signed
 * @returns {Uint8ClampedArray} red, green, blue and opacity of each value
 */
export function paint(values, limit, name, opacity, signed) {
  const table = tableOf(name);
  const pixels = new Uint8ClampedArray(4 * values.length);
  if (!(limit > 0)) return pixels;
  for (let index = 0; index < values.length; index++) {
    const heat = Math.min(Math.max(values[index] / limit, signed ? -1 : 0), 1);
    if (!(heat > 0 || heat < 0)) continue;
    const level = 3 * (Math.round(heat * 255) + (signed ? 255 : 0));
    pixels.set(table.subarray(level, level + 3), 4 * index);
    pixels[4 * index + 3] = 255 * opacity * Math.min(2 * Math.abs(heat), 1);
  }
  return pixels;
}

/**
 * How many values are not numbers.
 * @param {Float32Array} values
 */
export function countMissing(values) {
  let missing = 0;
  for (const value of values) if (!Number.isFinite(value)) missing++;
  return missing;
}

/** A number in few characters: 0, 12.3, 0.00123, 1.2e+9; a dash where there is none. */
export function short(value) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}

/** A probability: 0.93, never rounded up to 1 or down to 0. */
export function probability(value) {
  if (!Number.isFinite(value)) return "–";
  if (value > 0.995 && value < 1) return ">0.99";
  return value > 0 && value < 0.005 ? "<0.01" : value.toFixed(2);
}
