// One picture, with a map over it or without, what is marked on it, and the words below.

import { countMissing, gradientOf, paint, probability, short } from "./colors.js";
import { element, named, write } from "./dom.js";
import { boxesOf, cellAt, fieldOf, iou, largestBox, place } from "./geometry.js";

const SHARP = 480; // pixels that the longer side of a canvas has at least

/**
 * @typedef {object} Content
 * @property {string} key differs when anything does that is drawn
 * @property {string} title @property {string} tag @property {number} [p] @property {string} [color]
 * @property {ImageBitmap} [picture] @property {import("./data.js").Step} [step] where cells lie
 * @property {Float32Array} [map] the one that is drawn @property {number} limit what is drawn as 1
 * @property {number[][]} truth boxes @property {string} [missing] why there is no map
 * @property {import("./state.js").State} state @property {string} label in words
 */

export class Figure {
  /** @param {(where: {x: number, y: number} | null) => void} onPoint shares of the picture's width and height */
  constructor(onPoint) {
    this.canvas = element("canvas", { role: "img" });
    this.marks = element("canvas", { class: "marks", "aria-hidden": "true" });
    this.dot = element("span", { class: "dot" });
    this.title = named("");
    this.tag = element("span", { class: "tag" });
    this.p = element("span", { class: "p" });
    this.bar = element("div", { class: "bar" });
    this.ends = [element("span"), element("span")];
    this.words = element("p", { class: "words" });
    this.here = element("p", { class: "here" });
    const head = element("div", { class: "head" }, this.dot, this.title, this.tag, this.p);
    this.scale = element("div", { class: "scale" }, this.ends[0], this.bar, this.ends[1]);
    this.caption = element("figcaption", {}, head, this.scale, this.words, this.here);
    this.root = element("figure", {}, element("div", { class: "picture" }, this.canvas, this.marks), this.caption);
    this.marks.onpointermove = (event) => {
      const { left, top, width, height } = this.marks.getBoundingClientRect();
      onPoint({ x: (event.clientX - left) / width, y: (event.clientY - top) / height });
    };
    this.marks.onpointerleave = () => onPoint(null);
  }

  /** @param {Content} content */
  update(content) {
    if (this.content?.key === content.key) return;
    this.content = content;
    const { state, map, limit } = content;
    this.#writeHead();
    this.box = null;
    this.placed = null;
    if (content.picture) this.#draw();
    else this.canvas.width = this.canvas.width; // clears it
    const words = [];
    if (content.missing) words.push(content.missing);
    if (map) {
      const lost = countMissing(map);
      if (lost) words.push(`${lost} of ${map.length} cells are not numbers and are left clear.`);
      if (!limit && lost < map.length)
        words.push(state.signed ? "The map is zero everywhere." : "Nothing speaks for this class.");
      if (this.box) words.push(boxWords(this.box, boxesOf(content.truth)));
    }
    write(this.words, words.join(" "));
    this.canvas.setAttribute("aria-label", [content.label, ...words].join(" "));
    this.point(null);
  }

  #writeHead() {
    const { title, tag, p, color, map, limit, state } = this.content;
    write(this.title, title);
    this.title.title = title;
    write(this.tag, tag);
    write(this.p, p === undefined ? "" : probability(p));
    this.dot.style.background = color ?? "transparent";
    this.dot.hidden = !color;
    this.scale.hidden = !map;
    this.bar.style.background = gradientOf(state.signed ? state.signedColors : state.colors);
    write(this.ends[0], state.signed && limit ? `−${short(limit)}` : "0");
    write(this.ends[1], short(limit));
  }

  #draw() {
    const { picture, map, step, state, limit } = this.content;
    const [height, width] = step?.size ?? [picture.height, picture.width];
    const zoom = Math.max(1, Math.ceil(SHARP / Math.max(height, width)));
    for (const canvas of [this.canvas, this.marks]) [canvas.width, canvas.height] = [width * zoom, height * zoom];
    this.zoom = zoom;
    this.size = [height, width];
    const context = this.canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, 0, 0, width * zoom, height * zoom);
    if (!map) return;
    this.placed = place(map, [step.shape[1], step.shape[2]], this.size, step.placement, state.smooth);
    const colors = state.signed ? state.signedColors : state.colors;
    const heat = new OffscreenCanvas(width, height);
    const pixels = paint(this.placed, limit, colors, state.opacity, state.signed);
    heat.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
    context.imageSmoothingEnabled = state.smooth;
    context.drawImage(heat, 0, 0, width * zoom, height * zoom);
    if (state.box) this.box = largestBox(this.placed, this.size, state.threshold);
  }

  /** Mark a place: the cell there, what it sees, and their values. @param {{x: number, y: number} | null} where */
  point(where) {
    const context = this.marks.getContext("2d");
    context.clearRect(0, 0, this.marks.width, this.marks.height);
    write(this.here, "");
    if (!this.content?.picture) return;
    const { truth, state, step, map } = this.content;
    const unit = this.marks.width / (this.marks.clientWidth || this.marks.width); // of the canvas to one of the screen
    if (state.truth)
      for (const box of boxesOf(truth)) this.#outline(context, box, "#ffffff", [7 * unit, 4 * unit], unit);
    if (this.box) this.#outline(context, this.box, "#ff6d00", [], unit);
    if (!where) return;
    const [height, width] = this.size;
    const [y, x] = [
      Math.min(Math.floor(where.y * height), height - 1),
      Math.min(Math.floor(where.x * width), width - 1),
    ];
    if (x < 0 || y < 0) return;
    if (!step) return write(this.here, `Row ${y}, column ${x}`);
    const cell = [cellAt(y, step.shape[1], step.placement[0]), cellAt(x, step.shape[2], step.placement[1])];
    const field = fieldOf(cell, step.placement, step.field);
    if (field) this.#outline(context, field, "#00e5ff", [], unit);
    const [top, left] = step.placement.map(([offset, stride], axis) => offset + stride * (cell[axis] - 0.5) + 0.5);
    const [down, across] = step.placement.map(([, stride]) => stride);
    this.#outline(
      context,
      { left, top, right: left + across, bottom: top + down },
      "#00e5ff",
      [2 * unit, 2 * unit],
      unit,
    );
    const value = map ? `${short(this.placed[y * width + x])} here · ` : `Row ${y}, column ${x} · `;
    const inCell = map ? `: ${short(map[cell[0] * step.shape[2] + cell[1]])}` : "";
    write(this.here, `${value}cell [${cell.join(", ")}]${inCell}`);
  }

  #outline(context, box, color, dashes, unit) {
    const at = [box.left, box.top, box.right - box.left, box.bottom - box.top].map((value) => value * this.zoom);
    context.setLineDash(dashes);
    for (const [style, thickness] of [
      ["rgb(0 0 0 / 60%)", 4],
      [color, 2],
    ]) {
      context.strokeStyle = style;
      context.lineWidth = thickness * unit;
      context.strokeRect(...at);
    }
  }
}

function boxWords({ left, top, right, bottom }, truth) {
  const best = truth.length ? Math.max(...truth.map((box) => iou({ left, top, right, bottom }, box))) : NaN;
  const agreement = Number.isFinite(best) ? `, IoU ${best.toFixed(2)}` : "";
  return `Box x ${left}–${right}, y ${top}–${bottom}${agreement}.`;
}
