// The epoch that is shown: a slider, one step back and forth, and playing them all.

import { element, write } from "./dom.js";

const BEAT = 300; // milliseconds an epoch

export class Player {
  /** @param {import("./store.js").Store} store @param {() => boolean} isReady whether the next may come */
  constructor(store, isReady) {
    this.store = store;
    this.isReady = isReady;
    const button = (id, label, sign, onclick) =>
      element("button", { id, type: "button", "aria-label": label, title: label, textContent: sign, onclick });
    this.play = button("play", "Play", "▶", () => this.toggle());
    this.back = button("back", "Epoch before", "‹", () => this.move(-1));
    this.next = button("next", "Epoch after", "›", () => this.move(1));
    this.slider = element("input", { id: "epoch", type: "range", min: 0, max: 0, step: 1, "aria-label": "Epoch" });
    this.slider.oninput = () => this.#choose(Number(this.slider.value));
    this.label = element("output", { for: "epoch", class: "epoch" });
    this.root = element(
      "div",
      { class: "player", role: "group", "aria-label": "Epoch" },
      this.play,
      this.back,
      this.next,
      this.slider,
      this.label,
    );
  }

  get playing() {
    return this.timer !== undefined;
  }

  update() {
    const { steps, step, unit } = this.store;
    const index = steps.indexOf(step);
    this.slider.max = String(Math.max(steps.length - 1, 0));
    this.slider.value = String(Math.max(index, 0));
    this.slider.setAttribute("aria-valuetext", `${unit} ${step}`);
    for (const control of [this.play, this.slider]) control.disabled = steps.length < 2;
    this.back.disabled = index <= 0;
    this.next.disabled = index >= steps.length - 1;
    write(this.label, steps.length ? `${unit} ${step} (${index + 1} of ${steps.length})` : "No epoch yet");
  }

  /** Go so many epochs on. @param {number} by */
  move(by) {
    const { steps, step } = this.store;
    const index = steps.indexOf(step) + by;
    if (index >= 0 && index < steps.length) this.#choose(index);
  }

  /** The last epoch is followed: where more come, the last of these is shown. */
  #choose(index) {
    const { steps } = this.store;
    this.store.set({ epoch: index >= steps.length - 1 ? null : steps[index] });
  }

  toggle() {
    if (this.playing) return this.stop();
    const { steps, step } = this.store;
    if (steps.length < 2) return;
    if (step === steps.at(-1)) this.#choose(0);
    this.timer = setInterval(() => this.#beat(), BEAT);
    this.#writeButton();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = undefined;
    this.#writeButton();
  }

  #beat() {
    const { steps, step } = this.store;
    if (!this.isReady()) return;
    this.move(1);
    if (steps.indexOf(step) >= steps.length - 2) this.stop();
  }

  #writeButton() {
    write(this.play, this.playing ? "❚❚" : "▶");
    this.play.title = this.playing ? "Pause" : "Play";
    this.play.setAttribute("aria-label", this.play.title);
  }
}
