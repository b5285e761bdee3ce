// The keyboard.

/** What there is to press, for the line of help. */
export const KEYS = [
  ["←  →", "epoch"],
  ["↑  ↓", "probe"],
  ["Space", "play"],
  ["1 – 9", "classes"],
];

const OWN_KEYS = "select, textarea, input:not([type=checkbox], [type=range])";
const EPOCHS = "#epoch"; // whose arrows mean the same everywhere on the page

/**
 * Whether a pressed key belongs to the control that it was pressed on.
 * @param {Element} target
 * @param {string} key
 */
export function isTaken(target, key) {
  if (!target.matches) return false;
  if (target.matches(OWN_KEYS)) return true;
  if (key === " ") return target.matches("button, input:not([type=range]), summary, a");
  return key.startsWith("Arrow") && target.matches(`input[type=range]:not(${EPOCHS})`);
}

/**
 * Let keys act, wherever on the page they are pressed.
 * @param {import("./player.js").Player} player
 * @param {import("./probes.js").Probes} probes
 * @param {{press: (index: number) => void}} chips
 */
export function listenForKeys(player, probes, chips) {
  const actions = {
    ArrowLeft: () => player.move(-1),
    ArrowRight: () => player.move(1),
    ArrowUp: () => probes.move(-1),
    ArrowDown: () => probes.move(1),
    " ": () => player.toggle(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || isTaken(event.target, event.key)) return;
    const action = /^[1-9]$/.test(event.key) ? () => chips.press(Number(event.key) - 1) : actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
