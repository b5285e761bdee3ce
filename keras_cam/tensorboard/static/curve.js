// The probabilities of classes over the epochs, with the epoch that is shown marked.

import { dashesOf, probability } from "./colors.js";
import { drawing, element, named, write } from "./dom.js";
import { probabilityOf } from "./records.js";

const [WIDTH, HEIGHT] = [1000, 100];

/**
 * @typedef {object} Line
 * @property {number} index of the class @property {string} name @property {string} color
 * @property {number} rank its place among the classes, which its dashes go by
 * @property {boolean} faint whether its map is not shown
 */

/**
 * The path of a line: moves at its first point and after each gap; a point alone is a dot.
 * @param {{x: number, y: number}[]} points y is NaN in a gap
 */
export function pathOf(points) {
  const parts = [];
  points.forEach(({ x, y }, index) => {
    if (!Number.isFinite(y)) return;
    const joined = Number.isFinite(points[index - 1]?.y);
    parts.push(`${joined ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`);
    if (!joined && !Number.isFinite(points[index + 1]?.y)) parts.push("h0");
  });
  return parts.join(" ");
}

export class Curve {
  /** @param {(step: number) => void} onChoose */
  constructor(onChoose) {
    this.svg = drawing("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.ends = [element("span"), element("span")];
    this.legend = element("div", { class: "legend" });
    const plot = element(
      "div",
      { class: "plot" },
      element("span", { class: "one", textContent: "1" }),
      this.svg,
      element("span", { class: "zero", textContent: "0" }),
    );
    this.unit = element("span");
    const axis = element("div", { class: "axis" }, this.ends[0], this.unit, this.ends[1]);
    this.root = element("div", { class: "curve" }, this.legend, plot, axis);
    this.svg.onclick = (event) => {
      const { left, width } = this.svg.getBoundingClientRect();
      const wanted = this.first + ((event.clientX - left) / width) * (this.last - this.first);
      const away = (step) => Math.abs(step - wanted);
      onChoose(this.steps.reduce((best, step) => (away(step) < away(best) ? step : best)));
    };
  }

  /**
   * @param {import("./records.js").Sighting[]} sightings
   * @param {Line[]} lines
   * @param {number[]} steps of all runs
   * @param {number} step the one that is shown
   * @param {string} unit what steps count
   */
  update(sightings, lines, steps, step, unit) {
    write(this.unit, unit);
    const key = JSON.stringify([lines, steps.length, steps.at(-1)]);
    this.steps = steps;
    [this.first, this.last] = [steps[0], Math.max(steps.at(-1), steps[0] + 1)];
    if (this.key !== key || this.sightings !== sightings) this.#draw(sightings, lines);
    [this.key, this.sightings] = [key, sightings];
    const x = this.#x(step);
    for (const [name, value] of Object.entries({ x1: x, x2: x })) this.mark.setAttribute(name, value);
    const now = sightings.findLast((sighting) => sighting.step <= step);
    this.values.forEach((value, index) =>
      write(value, now ? probability(probabilityOf(now.entry, lines[index].index)) : "–"),
    );
    const words = lines.map(({ name }, index) => `${name} ${this.values[index].textContent}`).join(", ");
    this.svg.setAttribute("aria-label", `Probability by ${unit}; at ${unit} ${step}: ${words}`);
  }

  #x(step) {
    return (WIDTH * (step - this.first)) / (this.last - this.first);
  }

  #draw(sightings, lines) {
    const paths = lines.map(({ index, color, rank, faint }) => {
      const points = sightings.map(({ step, entry }) => ({
        x: this.#x(step),
        y: HEIGHT * (1 - Math.min(Math.max(probabilityOf(entry, index), 0), 1)),
      }));
      return drawing("path", {
        d: pathOf(points),
        stroke: color,
        "stroke-dasharray": dashesOf(rank),
        class: faint ? "line faint" : "line",
      });
    });
    const half = drawing("line", { x1: 0, x2: WIDTH, y1: HEIGHT / 2, y2: HEIGHT / 2, class: "half" });
    this.mark = drawing("line", { y1: 0, y2: HEIGHT, class: "now" });
    this.svg.replaceChildren(half, ...paths, this.mark);
    this.values = lines.map(() => element("span", { class: "p" }));
    this.legend.replaceChildren(
      ...lines.map(({ name, color, rank, faint }, index) => {
        const stroke = drawing("line", {
          x1: 0,
          x2: 22,
          y1: 5,
          y2: 5,
          stroke: color,
          "stroke-dasharray": dashesOf(rank),
          class: "line",
        });
        return element(
          "span",
          { class: faint ? "faint" : "" },
          drawing("svg", { viewBox: "0 0 22 10", class: "stroke", "aria-hidden": "true" }, stroke),
          named(name),
          this.values[index],
        );
      }),
    );
    write(this.ends[0], String(this.first));
    write(this.ends[1], String(this.last));
  }
}
