/** Elements and numbers as the page shows them. Titles and keys are data: they become text, never markup. */

import { imageUrl } from "./service.js";

const COLORS = 7;

/** An element. Attributes that are null or false are left out; `on…` are listeners; texts among children stay texts. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** What an item is called: its title, or its key where it has none. */
export const nameOf = (item) => item.title || item.key;

/** The image of an item; its first letter where it has none. The name stands beside it, so it is decoration. */
export function tile(item, pixels) {
  const letter = [...nameOf(item).trim()][0] ?? "?";
  const made = element("span", { class: "tile", "aria-hidden": "true" }, letter.toUpperCase());
  made.style.setProperty("--size", `${pixels}px`);
  if (!item.image) return made;
  const image = element("img", { alt: "", width: pixels, height: pixels, loading: "lazy", decoding: "async" });
  image.addEventListener("load", () => made.classList.add("loaded"));
  image.addEventListener("error", () => image.remove());
  imageUrl(item.image, pixels).then((url) => image.setAttribute("src", url), () => image.remove());
  made.append(image);
  return made;
}

/** The name of a stream behind a dot of its color. */
export function streamName(run, name) {
  const made = element("span", { class: "stream" }, element("span", { class: "dot", "aria-hidden": "true" }), name);
  paint(made, run, name);
  return made;
}

/** Gives an element the color of a stream, as the variable --stream. */
export function paint(made, run, name) {
  const place = run.streams.findIndex((stream) => stream.name === name);
  made.style.setProperty("--stream", `var(--c${place % COLORS})`);
}

/** Radio buttons that look like one control. `choices` are {value, label}. */
export function radios(box, group, choices, chosen, onchange) {
  const made = choices.map(({ value, label }) =>
    element("label", {},
      element("input", {
        type: "radio", name: group, value, checked: value === chosen, "data-focus": value, onchange: () => onchange(value),
      }),
      element("span", {}, label)));
  redraw(box, ...made);
}

/**
 * Replaces what is in a box, and keeps the focus: on the control of the same `data-focus`, else on the one that has
 * come into its place.
 */
export function redraw(box, ...children) {
  const controls = () => [...box.querySelectorAll("input, button")];
  const place = controls().indexOf(document.activeElement);
  const focus = document.activeElement?.dataset.focus;
  box.replaceChildren(...children);
  if (place < 0) return;
  const now = controls();
  (now.find((control) => control.dataset.focus === focus) ?? now[place] ?? now.at(-1))?.focus({ preventScroll: true });
}

/** Options of a select element. */
export function options(select, choices, chosen) {
  select.replaceChildren(...choices.map(([value, label]) => element("option", { value, selected: value === chosen }, label)));
}

export const whole = (number) => number.toLocaleString("en");
export const plural = (number, one, many) => `${whole(number)} ${number === 1 ? one : many}`;
export const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.0995 ? 1 : 0)}\u202f%`;
/** A number with two digits behind the point and a true minus sign. */
export const decimal = (number, digits = 2) => number.toFixed(digits).replace("-", "\u2212");
