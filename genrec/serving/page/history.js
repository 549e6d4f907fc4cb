/** The history: the items that the recommendations follow from, oldest first. */

import { element, nameOf, redraw, tile } from "./elements.js";

const list = document.getElementById("history-items");
const empty = document.getElementById("history-empty");
const clear = document.getElementById("clear");

/**
 * Shows the history.
 * @param items  {key, title, image} of each; `unknown: true` where the run has no such item.
 * @param open  gets the key of an item to show.
 * @param change  gets the new list of keys.
 */
export function showHistory(items, { open, change }) {
  const keys = items.map((item) => item.key);
  const grown = items.length > list.children.length;
  empty.hidden = items.length > 0;
  clear.hidden = items.length === 0;
  clear.onclick = () => {
    change([]);
    document.getElementById("search").focus();
  };
  const without = (place) => keys.filter((_, other) => other !== place);
  const moved = (place, step) => without(place).toSpliced(place + step, 0, keys[place]);
  redraw(list, ...items.map((item, place) => {
    const name = nameOf(item);
    const button = (label, sign, isIdle, keysAfter) => element("button", {
      type: "button", class: "icon", "aria-label": `${label}: ${name}`, title: label, "aria-disabled": isIdle && "true",
      "data-focus": `${label} ${item.key}`, onclick: () => { if (!isIdle) change(keysAfter()); },
    }, sign);
    return element("li", { class: item.unknown ? "unknown" : null },
      tile(item, 44),
      element("span", { class: "name" },
        item.unknown ? element("span", { dir: "auto" }, name)
          : element("button", { type: "button", class: "open", dir: "auto", "data-focus": `open ${item.key}`, onclick: () => open(item.key) }, name),
        element("span", { class: "muted key" }, item.unknown ? "not in this catalog: ignored" : item.title ? item.key : "")),
      element("span", { class: "actions" },
        button("Move up", "\u2191", place === 0, () => moved(place, -1)),
        button("Move down", "\u2193", place === items.length - 1, () => moved(place, 1)),
        button("Remove", "\u00d7", false, () => without(place))));
  }));
  if (grown) list.scrollTop = list.scrollHeight;
}
