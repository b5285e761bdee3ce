// The TensorBoard around the tab: its messages, its address, its dark mode. The tab works without them too.

/**
 * Open the channel on which TensorBoard says that it has loaded new data.
 * @param {() => void} onReload
 */
export function listenForReload(onReload) {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.isReply) return;
    if (message.type === "experimental.DataReloaded") onReload();
    port1.postMessage(
      JSON.stringify({ type: message.type, id: message.id, payload: null, error: null, isReply: true }),
    );
  };
  window.parent.postMessage("experimental.bootstrap", "*", [port2]);
}

/** Something of the page around, or what stands for it where that is of another origin. */
function around(look, otherwise) {
  try {
    return look(window.parent);
  } catch {
    return otherwise;
  }
}

/** The part of the address that a link to this tab ends in; TensorBoard's own message about it is empty at first. */
export const readHash = () => around((host) => host.location.hash, window.location.hash);

/** Put a state into the address without a step in the history, while this tab is the one that is shown. */
export function writeHash(hash) {
  around((host) => {
    const { hash: now, pathname, search } = host.location;
    const tab = (text) => text.split("&")[0];
    if (tab(now) !== tab(hash) || now === hash) return;
    host.history.replaceState(host.history.state, "", `${pathname}${search}${hash}`); // whatever the base address is
  });
}

/** Say when another link is put into the address. @param {() => void} onChange */
export const listenForHash = (onChange) => around((host) => host.addEventListener("hashchange", onChange));

/** Follow TensorBoard's dark mode. */
export function followDarkMode() {
  around((host) => {
    const body = host.document.body;
    const follow = () => document.documentElement.classList.toggle("dark", body.classList.contains("dark-mode"));
    follow();
    new MutationObserver(follow).observe(body, { attributeFilter: ["class"] });
  });
}

/** Whether the tab is shown: TensorBoard keeps the others alive, without a height. */
export const isShown = () => window.innerHeight > 0 && !document.hidden;

/** Say when the tab is hidden or shown again. @param {(shown: boolean) => void} onChange */
export function listenForShown(onChange) {
  let shown = isShown();
  const look = () => {
    if (isShown() !== shown) onChange((shown = !shown));
  };
  window.addEventListener("resize", look);
  document.addEventListener("visibilitychange", look);
}
