// What is shown, and the same as a link.

import { COLORMAPS, SIGNED_COLORMAPS } from "./colors.js";

/** What stands for a class that may change by probe, run and epoch. */
export const PREDICTED = "predicted";
export const TRUE = "true";

export const ORDERS = ["stored", "moved", "outside", "wrong"];
export const SCALES = ["map", "epoch", "run"];
export const TAB = "keras_cam"; // as TensorBoard's address calls it
const PREFIX = `p.${TAB}.`;
const MOST = 400; // runs or classes in one link

/**
 * @typedef {object} State
 * @property {string[] | null} runs which ones; null for the first two
 * @property {string | null} probe null for the first
 * @property {number | null} epoch null for the last, also when more come
 * @property {(number | string)[]} classes indices, PREDICTED or TRUE
 * @property {string} colors @property {string} signedColors
 * @property {number} opacity @property {boolean} box @property {number} threshold share of the maximum
 * @property {"map" | "epoch" | "run"} scale over what the colours are scaled
 * @property {boolean} signed @property {boolean} smooth @property {boolean} truth whether true boxes are drawn
 * @property {string} order of the probes @property {string | null} group null for all
 */

/** @returns {State} */
export const initialState = () => ({
  runs: null,
  probe: null,
  epoch: null,
  classes: [PREDICTED],
  colors: COLORMAPS[0],
  signedColors: SIGNED_COLORMAPS[0],
  opacity: 0.6,
  box: true,
  threshold: 0.2,
  scale: "map",
  signed: false,
  smooth: true,
  truth: true,
  order: "stored",
  group: null,
});

const whole = (text) => (/^-?\d{1,10}$/.test(text) ? Number(text) : undefined);
const share = (top) => (text) =>
  /^[\d.]{1,20}$/.test(text) && Number(text) >= 0 && Number(text) <= top ? Number(text) : undefined;
const flag = (text) => ({ 1: true, 0: false })[text];
const oneOf = (known) => (text) => (known.includes(text) ? text : undefined);
const several = (read) => (text) => {
  const parts = text === "" ? [] : text.split(",").slice(0, MOST);
  return parts
    .map(decoded)
    .map(read)
    .filter((item) => item !== undefined);
};
const classToken = (text) => (text === PREDICTED || text === TRUE ? text : whole(text));

/** How each part of the state is read from a link; undefined where it says nothing that could be meant. */
const READERS = {
  runs: several((text) => text),
  probe: (text) => (/^probe_\d{1,5}$/.test(text) ? text : undefined),
  epoch: whole,
  classes: several(classToken),
  colors: oneOf(COLORMAPS),
  signedColors: oneOf(SIGNED_COLORMAPS),
  opacity: share(1),
  box: flag,
  threshold: share(0.99),
  scale: oneOf(SCALES),
  signed: flag,
  smooth: flag,
  truth: flag,
  order: oneOf(ORDERS),
  group: (text) => text,
};

/**
 * The state that a link holds; what it does not hold, or what makes no sense, is as at the start.
 * @param {string} hash such as "#keras_cam&p.keras_cam.epoch=3"
 * @returns {State}
 */
export function stateOf(hash) {
  const state = initialState();
  for (const part of hash.replace(/^#/, "").split("&")) {
    const [key, ...rest] = part.split("=");
    const name = decoded(key).slice(PREFIX.length);
    if (!decoded(key).startsWith(PREFIX) || !Object.hasOwn(READERS, name)) continue;
    const value = READERS[name](decoded(rest.join("=")));
    if (value !== undefined) state[name] = value;
  }
  return state;
}

/**
 * The link to a state: the tab's name and what differs from the start.
 * @param {State} state
 */
export function hashOf(state) {
  const initial = initialState();
  const parts = Object.keys(READERS)
    .filter((name) => JSON.stringify(state[name]) !== JSON.stringify(initial[name]) && state[name] !== null)
    .map((name) => `${PREFIX}${name}=${encodeURIComponent(written(state[name]))}`);
  return `#${[TAB, ...parts].join("&")}`;
}

function written(value) {
  if (Array.isArray(value)) return value.map(encodeURIComponent).join(",");
  return typeof value === "boolean" ? String(Number(value)) : String(value);
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
