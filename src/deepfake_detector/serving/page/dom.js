// Tag, attributes and children -> an element. Text is always inserted as text, never as markup.
const SVG = "http://www.w3.org/2000/svg";

/** An HTML element; attributes and children that are `false`, `null` or `undefined` are left out. */
export function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Text for screen readers only. */
export const hiddenText = (text) => html("span", { class: "visually-hidden" }, text);

/** An icon by its symbol in icons.svg. Screen readers skip it: the text beside it has the same meaning. */
export function icon(name) {
  return svg("svg", { class: `icon icon-${name}`, "aria-hidden": "true" }, svg("use", { href: `icons.svg#${name}` }));
}

/** Place an element at shares (0..1) of its parent's width and height. */
export function placeAt(element, shares) {
  for (const [name, share] of Object.entries(shares)) element.style[name] = `${(100 * share).toFixed(3)}%`;
  return element;
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== false && child !== null && child !== undefined));
  return element;
}
