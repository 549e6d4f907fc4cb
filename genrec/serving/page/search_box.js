/** Finding items by title or key: a combobox whose list of matches is asked of the service while one types. */

import { element, nameOf, plural, tile, whole } from "./elements.js";
import { request } from "./service.js";

const WAIT = 150;
const LIMIT = 20;

const input = document.getElementById("search");
const popover = document.getElementById("popover");
const list = document.getElementById("matches");
const note = document.getElementById("matches-note");
const status = document.getElementById("search-status");

let matches = [];
let active = -1;
let timer = 0;
let pending = null;

/** Sets up the box. `getRun` gives the run that is shown, `choose(item)` gets the chosen item, `fail(error)` errors. */
export function searchBox({ getRun, choose, fail }) {
  const pick = (place) => {
    const item = matches[place];
    input.value = "";
    close();
    status.textContent = `${nameOf(item)} added to the history`;
    choose(item);
  };

  const search = async () => {
    const query = input.value.trim();
    const run = getRun();
    pending?.abort();
    if (!query || !run) return close();
    const { signal } = (pending = new AbortController());
    try {
      const found = await request("items", { query: { run: run.name, q: query, limit: LIMIT }, signal });
      show(found.items, found.total, pick);
      return found.items.length > 0;
    } catch (error) {
      if (error.name === "AbortError") return false;
      close();
      fail(error);
    }
    return false;
  };

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, WAIT);
  });
  input.addEventListener("focus", () => { if (input.value.trim() && popover.hidden) search(); });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", async (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape" && !popover.hidden) {
      event.preventDefault();
      close();
    } else if (event.key === "Enter" && input.value.trim()) {
      event.preventDefault();
      clearTimeout(timer);
      const isOld = popover.hidden || input.value.trim() !== list.dataset.query;
      if (!isOld && active >= 0) pick(active);
      else if (isOld ? await search() : matches.length) pick(0);
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (popover.hidden) search();
      else if (matches.length) {
        const step = event.key === "ArrowDown" ? 1 : -1;
        activate(active < 0 && step < 0 ? matches.length - 1 : (active + step + matches.length) % matches.length);
      }
    }
  });
  popover.addEventListener("pointerdown", (event) => event.preventDefault());
}

function show(items, total, pick) {
  matches = items;
  list.dataset.query = input.value.trim();
  list.replaceChildren(...items.map((item, place) =>
    element("li", { role: "option", id: `match-${place}`, "aria-selected": "false", onclick: () => pick(place) },
      tile(item, 40),
      element("span", { class: "name" },
        element("span", { dir: "auto" }, nameOf(item)),
        element("span", { class: "muted key" }, item.title ? item.key : "")))));
  const shown = items.length ? plural(total ?? items.length, "match", "matches") : "No item has these words in its title or key.";
  note.textContent = total > items.length ? `First ${whole(items.length)} of ${shown}. More words give fewer.` : shown;
  status.textContent = shown;
  popover.hidden = false;
  input.setAttribute("aria-expanded", "true");
  activate(-1);
}

function activate(place) {
  active = place;
  [...list.children].forEach((option, other) => option.setAttribute("aria-selected", String(other === place)));
  if (place < 0) return input.removeAttribute("aria-activedescendant");
  input.setAttribute("aria-activedescendant", `match-${place}`);
  list.children[place].scrollIntoView({ block: "nearest" });
}

function close() {
  clearTimeout(timer);
  pending?.abort();
  matches = [];
  active = -1;
  popover.hidden = true;
  list.replaceChildren();
  input.setAttribute("aria-expanded", "false");
  input.removeAttribute("aria-activedescendant");
}
