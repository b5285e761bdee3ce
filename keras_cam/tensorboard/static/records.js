// The summaries of the epochs: what is known of each probe in each run, and in which order the probes are of interest.

import { lastAt } from "./data.js";

/**
 * @typedef {object} Entry one probe at one epoch
 * @property {string} probe @property {string} group @property {string} name
 * @property {number | null} true @property {number} predicted
 * @property {number[]} classes that are mapped @property {Record<string, string>} names
 * @property {(number | null)[]} p @property {number | null} p_true
 * @property {[number, number][]} [top] the most probable classes, mapped or not, each with its probability
 * @property {string} [image] differs where the picture is another
 * @property {number} [picture] the epoch at which its picture was written
 * @property {number[][]} boxes @property {Record<string, number>} numbers
 * @property {number | null} [heat_of] the class of the map that numbers are about
 * @property {number | null} [inside_of] the same of those that are about the boxes
 *
 * @typedef {{step: number, entry: Entry, from: number}} Sighting `from` is the first epoch with the same picture
 *
 * @typedef {{label: string, about: "heat" | "inside" | null}} Measure what a number is called, and which map it is about
 */

/** The summaries of one run, by probe. */
export class Run {
  /**
   * @param {string} name
   * @param {{
   *   epochs: {step: number, unit?: string, measures?: Record<string, Measure>, probes: Entry[]}[],
   *   dropped: number,
   *   thinned?: number,
   * }} reply of ./epochs
   */
  constructor(name, reply) {
    this.name = name;
    this.dropped = reply.dropped ?? 0;
    this.thinned = reply.thinned ?? 0;
    this.unit = reply.epochs.at(-1)?.unit === "batch" ? "batch" : "epoch";
    this.steps = reply.epochs.map((record) => record.step);
    /** @type {Record<string, string>} of all classes that were ever named */
    this.names = {};
    /** @type {Record<string, Measure>} by the names that numbers have */
    this.measures = {};
    /** @type {Map<string, Sighting[]>} */
    this.probes = new Map();
    for (const { step, measures, probes } of reply.epochs) {
      Object.assign(this.measures, measures);
      for (const entry of probes) {
        if (!this.probes.has(entry.probe)) this.probes.set(entry.probe, []);
        const sightings = this.probes.get(entry.probe);
        const last = sightings.at(-1);
        Object.assign(this.names, entry.names);
        if (last?.step !== step)
          sightings.push({ step, entry, from: last && sameImage(last.entry, entry) ? last.from : step });
      }
    }
  }

  /** A probe at the last epoch that is not after `step`. */
  at(probe, step) {
    return lastAt(this.probes.get(probe) ?? [], step);
  }

  /** The first epoch of the picture that a probe shows at `step`; probes that are chosen anew change theirs. */
  pictureStep(probe, step) {
    const sightings = this.probes.get(probe) ?? [];
    return (lastAt(sightings, step) ?? sightings[0])?.from ?? step;
  }
}

const sameImage = (a, b) =>
  ["picture", "group", "name", "true"].every((part) => a[part] === b[part]) && String(a.boxes) === String(b.boxes);

/** All epochs of some runs, in order. @param {Run[]} runs */
export const allSteps = (runs) => [...new Set(runs.flatMap((run) => run.steps))].sort((a, b) => a - b);

/** All probes of some runs, by their numbers. @param {Run[]} runs */
export function allProbes(runs) {
  const ids = [...new Set(runs.flatMap((run) => [...run.probes.keys()]))];
  return ids.sort((a, b) => Number(a.slice(6)) - Number(b.slice(6)) || (a < b ? -1 : 1));
}

const TURNS = /[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g; // turn the direction of what follows

/** A text that somebody else wrote, not longer than can be shown. */
export function shortened(text, most = 120) {
  const letters = Array.from(
    String(text ?? "")
      .slice(0, 4 * most)
      .replace(TURNS, ""),
  );
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : letters.join("");
}

/**
 * The name of a class.
 * @param {Entry | Run | undefined} by who knows it
 * @param {number} index
 * @param {Run} [otherwise] who is asked next: an entry knows the names of its own epoch only
 */
export const nameOf = (by, index, otherwise) =>
  shortened(by?.names?.[index] ?? otherwise?.names?.[index] ?? "") || `class ${index}`;

/** The probability of a class; NaN where it is not stored. @param {Entry} entry @param {number} index */
export function probabilityOf(entry, index) {
  const place = entry.classes.indexOf(index);
  const stored = [
    place >= 0 ? entry.p?.[place] : null,
    index === entry.true ? entry.p_true : null,
    entry.top?.find(([other]) => other === index)?.[1],
  ];
  return stored.find(Number.isFinite) ?? NaN;
}

/** Whether the network is wrong; null where the truth is not known. @param {Entry} entry */
export const isWrong = (entry) => (Number.isFinite(entry.true) ? entry.true !== entry.predicted : null);

/**
 * Whether runs show different pictures under the same number; where their fingerprints are of different kinds, or a log of
 * old has none, this is told by the true class.
 * @param {Entry[]} entries one for each run
 */
export function differ(entries) {
  const lengths = new Set(entries.map((entry) => entry.image?.length ?? 0));
  const comparable = lengths.size === 1 && !lengths.has(0);
  return new Set(entries.map((entry) => (comparable ? entry.image : entry.true))).size > 1;
}

/** The groups that probes of some runs are in. @param {Run[]} runs */
export function groupsOf(runs) {
  const all = runs.flatMap((run) => [...run.probes.values()].map((sightings) => sightings.at(-1).entry.group));
  return [...new Set(all.filter((name) => typeof name === "string" && name))];
}

/** Which map numbers are about in logs of old, which do not say it; all others are about the first one. */
const ABOUT_OF_OLD = { probability_of_true_class: null, energy_inside: "inside", pointing: "inside", iou: "inside" };

/**
 * What a number is called, and which map it is about.
 * @param {string} name
 * @param {Record<string, Measure>} measures of the run
 * @returns {Measure}
 */
export function measureOf(name, measures) {
  if (Object.hasOwn(measures, name)) return { ...measures[name], label: shortened(measures[name].label, 40) };
  const about = Object.hasOwn(ABOUT_OF_OLD, name) ? ABOUT_OF_OLD[name] : "heat";
  return { label: shortened(name.replaceAll("_", " "), 40), about };
}

/** The class of the map that a number is about; null where it is about none, or nobody knows. */
const classOf = (about, entry) => ({ heat: entry.heat_of, inside: entry.inside_of })[about] ?? null;

/**
 * The numbers of a probe by the class of the map that they are about; first those that are about none.
 * @param {Entry} entry
 * @param {Record<string, Measure>} measures of the run
 * @returns {[number | null, [string, number][]][]} each with its label
 */
export function numbersByMap(entry, measures) {
  const groups = new Map([[null, []]]);
  for (const [name, value] of Object.entries(entry.numbers ?? {})) {
    if (!Number.isFinite(value)) continue;
    const { label, about } = measureOf(name, measures);
    const index = classOf(about, entry);
    if (!groups.has(index)) groups.set(index, []);
    groups.get(index).push([label, value]);
  }
  return [...groups].filter(([, pairs]) => pairs.length);
}

/** What probes are ordered by, the largest first; NaN where nothing is known. */
const MEASURES = {
  moved: (entry) => entry.numbers?.moved_since_last,
  outside: (entry) => 1 - entry.numbers?.energy_inside,
  wrong: (entry) => (isWrong(entry) ? probabilityOf(entry, entry.predicted) : NaN),
};

/**
 * What an order goes by: the largest over the runs.
 * @param {string} order
 * @param {Entry[]} entries one for each run
 */
export function measure(order, entries) {
  const values = entries.map((entry) => MEASURES[order]?.(entry)).filter(Number.isFinite);
  return values.length ? Math.max(...values) : NaN;
}

/** The class of the map that an order goes by; none where it goes by something else. */
export function measuredClass(order, entries) {
  const entry = entries.find((each) => MEASURES[order]?.(each) === measure(order, entries));
  return { moved: entry?.heat_of, outside: entry?.inside_of }[order] ?? null;
}

/**
 * Probes in an order, those of which nothing is known last, else as they are stored.
 * @template {{values: Entry[]}} T
 * @param {T[]} probes
 * @param {string} order
 * @returns {T[]}
 */
export function ordered(probes, order) {
  if (!(order in MEASURES)) return probes;
  const keyed = probes.map((probe, index) => ({ probe, index, key: measure(order, probe.values) }));
  const rank = ({ key }) => (Number.isFinite(key) ? key : -Infinity);
  keyed.sort((a, b) => (rank(a) === rank(b) ? a.index - b.index : rank(b) - rank(a)));
  return keyed.map(({ probe }) => probe);
}
