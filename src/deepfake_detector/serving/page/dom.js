// A tag, attributes and children -> an element. Text is always set as text, never as markup.
const SVG = "http://www.w3.org/2000/svg";

/** An HTML element; `false`, `null` and `undefined` are left out, in attributes as in children. */
export function html(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** Text that only screen readers meet. */
export const spoken = (text) => html("span", { class: "spoken" }, text);

/** One of the page's own icons, by the name of its symbol in icons.svg. Decoration: the words beside it say the same. */
export function icon(name) {
  return svg("svg", { class: `icon icon-${name}`, "aria-hidden": "true" }, svg("use", { href: `icons.svg#${name}` }));
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== false && child !== null && child !== undefined));
  return element;
}
