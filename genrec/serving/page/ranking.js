/** The recommended items, with each stream's evidence for them. */

import { decimal, element, nameOf, paint, percent, plural, redraw, streamName, tile } from "./elements.js";

const list = document.getElementById("ranked");
const note = document.getElementById("ranking-note");
const banner = document.getElementById("fallback");
const columns = document.getElementById("columns");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Shows that a new ranking is being computed. */
export function waitForRanking() {
  list.setAttribute("aria-busy", "true");
}

/** Shows that there is no ranking, and why: what is there is no longer that of the page's settings. */
export function showNoRanking(why) {
  list.removeAttribute("aria-busy");
  list.replaceChildren();
  note.textContent = why;
  banner.hidden = columns.hidden = true;
}

/**
 * Shows a ranking.
 * @param result  an answer of /recommend for one history.
 * @param history  keys; its items are marked, where the list may have them.
 * @param shown  key of the item in the panel, or null.
 */
export function showRanking(run, result, { history, shown, open, add }) {
  const isFallback = result.fallback;
  banner.hidden = !isFallback;
  banner.textContent = history.length
    ? "Popular items, because no item of the history is known."
    : "Popular items, because the history is empty.";
  columns.hidden = isFallback || result.items.length === 0;
  const unknown = result.unknown && !isFallback ? `${plural(result.unknown, "item of the history is", "items of the history are")} not in the catalog.` : "";
  note.textContent = result.items.length ? unknown : "No item is left to recommend.";
  const places = new Map([...list.children].map((row) => [row.dataset.key, row.getBoundingClientRect().top]));
  redraw(list, ...result.items.map((item, place) =>
    row(run, item, place, { isFallback, isSeen: history.includes(item.key), open, add })));
  list.removeAttribute("aria-busy");
  markShown(shown);
  glide(places);
}

/** Marks the item that the panel shows. */
export function markShown(key) {
  for (const made of list.children) made.toggleAttribute("data-shown", made.dataset.key === key);
}

function row(run, item, place, { isFallback, isSeen, open, add }) {
  const name = nameOf(item);
  return element("li", { "data-key": item.key },
    element("span", { class: "rank", "aria-hidden": "true" }, String(place + 1)),
    tile(item, 64),
    element("span", { class: "name" },
      element("button", { type: "button", class: "open", dir: "auto", "data-focus": `open ${item.key}`, onclick: () => open(item.key) }, name),
      element("span", { class: "muted key" }, item.title ? item.key : "", isSeen ? element("span", { class: "tag" }, "in the history") : null),
      element("span", { class: "score muted" }, isFallback ? `${percent(item.score)} of all purchases` : `score ${decimal(item.score, 3)}`)),
    isFallback ? null : votes(run, item),
    element("button", {
      type: "button", class: "icon add", "aria-label": `Add to the history: ${name}`, title: "Add to the history",
      "data-focus": `add ${item.key}`, onclick: () => add(item),
    }, "+"));
}

function votes(run, item) {
  return element("ul", { class: "votes", "aria-label": "Evidence of the streams" },
    ...run.streams.filter(({ name }) => item.streams[name]).map(({ name }) => {
      const { rank, log_prob: logProb, share } = item.streams[name];
      const bar = element("span", { class: "bar", "aria-hidden": "true" }, element("span", {}));
      bar.style.setProperty("--share", share ?? 0);
      const made = element("li", {},
        streamName(run, name),
        bar,
        element("span", { class: "share" }, share === null ? "\u2013" : percent(share)),
        element("span", { class: "place" }, element("span", { class: "hidden" }, ", rank "), rank === null ? "\u2013" : `#${rank}`),
        element("span", { class: "log" }, element("span", { class: "hidden" }, ", log-probability "), logProb === null ? "\u2013" : decimal(logProb)));
      paint(made, run, name);
      return made;
    }));
}

/** Moves the rows from where their items were to where they are. */
function glide(places) {
  if (calm.matches) return;
  for (const made of list.children) {
    const before = places.get(made.dataset.key);
    const way = before === undefined ? 0 : before - made.getBoundingClientRect().top;
    if (before === undefined) made.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 220, easing: "ease-out" });
    else if (way) made.animate([{ transform: `translateY(${way}px)` }, { transform: "none" }], { duration: 260, easing: "ease-out" });
  }
}
