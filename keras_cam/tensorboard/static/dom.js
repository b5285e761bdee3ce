// Making elements. What others wrote gets into the page as text only.

/**
 * An element. Properties are set as such, but for `class`, `aria-*`, `role` and `data-*`, which are attributes.
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class" || name === "role" || name === "for" || /^(aria|data)-/.test(name))
      made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** The same for a drawing, all properties being attributes. */
export function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** A name that somebody chose, in a box of its own so that its direction of writing does not spread. */
export const named = (text, properties = {}) => element("bdi", { textContent: text, title: text, ...properties });

/** Change a text only where it differs: no work for the page, no word from a screen reader. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Put children in an order, moving few. @param {Element} parent @param {Element[]} children */
export function arrange(parent, children) {
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  children.forEach((child, index) => {
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
}
