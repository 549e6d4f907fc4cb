/** What is known of one item: purchases, semantic IDs, its place in a stream's code tree, similar items. */

import { CodeTree } from "./code_tree.js";
import { decimal, element, nameOf, plural, radios, streamName, tile } from "./elements.js";
import { request } from "./service.js";

const SIMILAR = 9;

const panel = document.getElementById("panel");
const beside = matchMedia("(min-width: 1180px)");

let shown = null;
let wanted = "";
let pending = null;
let opener = document.body;
let onClose = () => {};

/** Sets up the panel; `close` is called when the user closes it. */
export function itemPanel({ close }) {
  onClose = close;
  panel.addEventListener("cancel", (event) => {
    event.preventDefault();
    close();
  });
  panel.addEventListener("click", ({ target, clientX }) => {
    if (target === panel && clientX < panel.getBoundingClientRect().left) close(); // on the backdrop
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && panel.open && !event.defaultPrevented && !document.querySelector("dialog:modal")) close();
  });
  beside.addEventListener("change", () => {
    if (!panel.open) return;
    panel.close();
    unfold();
  });
}

/**
 * Shows an item, or closes the panel where `key` is null.
 * @param chosen  name of the stream whose tree and vectors are shown; of any other name, the first that has some.
 * @param open  gets the key of another item, `add` an item for the history, `chooseStream` the name of another stream,
 *   `fail` errors.
 */
export async function showItem(run, key, chosen, { open, add, chooseStream, fail }) {
  const streams = run.streams.filter((stream) => stream.writes_codes || stream.has_vectors);
  const stream = streams.find(({ name }) => name === chosen) ?? streams[0] ?? null;
  const target = key === null ? "" : JSON.stringify([run.name, run.images, key]);
  const part = `${target}${stream?.name}`;
  if (part === wanted) return;
  wanted = part;
  pending?.abort();
  if (!target) return fold();
  const { signal } = (pending = new AbortController());
  if (!panel.open) opener = document.activeElement;
  panel.setAttribute("aria-busy", "true");
  try {
    if (shown?.target !== target) {
      const item = await request(`items/${encodeURIComponent(key)}`, { query: { run: run.name }, signal });
      shown = { target, item };
      const hadFocus = panel.contains(document.activeElement);
      panel.replaceChildren(...about(run, item, add), element("div", { id: "stream-parts" }));
      panel.setAttribute("aria-label", nameOf(item));
      panel.scrollTop = 0;
      if (hadFocus) document.getElementById("panel-title").focus();
    }
    if (!panel.open) unfold();
    if (stream) await showStream(run, shown.item, stream, streams, { open, chooseStream, fail, signal });
    panel.removeAttribute("aria-busy");
  } catch (error) {
    if (error.name === "AbortError") return;
    wanted = null;
    panel.removeAttribute("aria-busy");
    fail(error);
  }
}

function unfold() {
  document.body.classList.add("with-panel");
  if (beside.matches) panel.setAttribute("open", ""); // show() would also scroll to the panel
  else panel.showModal();
  if (opener !== document.body) document.getElementById("panel-title").focus({ preventScroll: true });
}

function fold() {
  if (!panel.open) return;
  const hadFocus = panel.contains(document.activeElement);
  panel.close();
  document.body.classList.remove("with-panel");
  shown = null;
  if (!hadFocus) return;
  const name = opener.dataset.focus;
  const again = opener.isConnected ? opener : name && document.querySelector(`[data-focus="${CSS.escape(name)}"]`);
  again?.focus({ preventScroll: true });
}

function about(run, item, add) {
  const count = item.count === null || item.count === undefined ? null : `${plural(item.count, "purchase", "purchases")} in the training histories`;
  return [
    element("div", { class: "head" },
      element("h2", { id: "panel-title", dir: "auto", tabindex: "-1" }, nameOf(item)),
      element("button", { type: "button", class: "icon", "aria-label": "Close", title: "Close", onclick: () => onClose() }, "\u00d7")),
    element("div", { class: "about-item" },
      tile(item, 132),
      element("div", {},
        element("p", { class: "key muted" }, item.key),
        count && element("p", {}, count),
        element("button", { type: "button", class: "primary", onclick: ({ target }) => {
        add(item);
        target.textContent = "Added to the history";
      } }, "Add to the history"))),
    element("h3", {}, "Semantic IDs"),
    element("dl", { class: "ids" }, ...run.streams.flatMap((stream) => [
      element("dt", {}, streamName(run, stream.name)), element("dd", {}, codes(stream, item))])),
  ];
}

function codes(stream, item) {
  const id = item.semantic_ids[stream.name];
  return id ? element("span", { class: "code" }, id.join(" \u00b7 ")) : element("span", { class: "muted" }, noCodes(stream));
}

const noCodes = (stream) => (stream.writes_codes ? "no codes for this item" : "no codes: scores items directly");

async function showStream(run, item, stream, streams, { open, chooseStream, fail, signal }) {
  const box = document.getElementById("stream-parts");
  if (!box.firstChild)
    box.append(
      element("fieldset", {}, element("legend", {}, "Code tree and similar items in"), element("div", { class: "choices" })),
      element("div", { id: "stream-part" }));
  radios(box.querySelector(".choices"), "panel-stream",
    streams.map(({ name }) => ({ value: name, label: streamName(run, name) })), stream.name, chooseStream);
  const id = item.semantic_ids[stream.name];
  const tree = id ? new CodeTree(run, stream, id, { open, fail, signal }) : null;
  const query = { run: run.name, stream: stream.name, k: SIMILAR };
  const similar = stream.has_vectors ? request(`similar/${encodeURIComponent(item.key)}`, { query, signal }) : { items: [] };
  const [near] = await Promise.all([similar, tree?.load()]);
  document.getElementById("stream-part").replaceChildren(
    element("h3", {}, "Place in the code tree"),
    ...(tree ? tree.elements : [element("p", { class: "empty" }, `${stream.name}: ${noCodes(stream)}.`)]),
    element("h3", {}, "Similar items"),
    near.items.length ? similarList(stream, near.items, open) : element("p", { class: "empty" }, "This stream has no vector of the item."));
}

function similarList(stream, items, open) {
  return element("ul", { class: "similar", "aria-label": `Most similar items in ${stream.name}` }, ...items.map((other) => {
    const shared = other.shared_codes;
    return element("li", {},
      tile(other, 64),
      element("button", { type: "button", class: "open", dir: "auto", onclick: () => open(other.key) }, nameOf(other)),
      element("span", { class: "muted" }, `cosine ${decimal(other.cosine)}`),
      shared ? element("span", { class: "tag" }, `${shared} of ${stream.levels} codes`) : null);
  }));
}
