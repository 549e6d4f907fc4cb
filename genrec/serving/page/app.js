/** The page: its state is in the address, and every change of the state shows it anew. */

import { element, options, plural, radios, streamName } from "./elements.js";
import { showHistory } from "./history.js";
import { itemPanel, showItem } from "./item_panel.js";
import { COUNTS, readState, writeState } from "./page_state.js";
import { markShown, showNoRanking, showRanking, waitForRanking } from "./ranking.js";
import { searchBox } from "./search_box.js";
import { configure, request } from "./service.js";

const MOST_KNOWN = 1000;
const LOADING_EVERY = 3000;

const at = (id) => document.getElementById(id);
const merged = "";

let state = readState();
let runs = [];
let ranking = null;
let ranked = "";
const known = new Map();
const asked = new Set();

const change = (part) => {
  state = { ...state, ...part };
  writeState(state);
  show();
};
const open = (key) => change({ item: key });
const add = (item) => {
  remember(item);
  change({ history: [...state.history, item.key] });
};
/** The run of the address, or the first. */
const theRun = () => runs.find((run) => run.name === state.run) ?? runs[0];

async function start() {
  configure({ ask: askForKey, busy: showBusy });
  searchBox({ getRun: theRun, choose: add, fail });
  itemPanel({ close: () => change({ item: null }) });
  addEventListener("popstate", () => {
    state = readState();
    if (runs.length) show();
  });
  at("skip").addEventListener("click", (event) => {
    event.preventDefault();
    at("ranking").focus();
  });
  await load();
}

/** Asks for the runs; again after a while as long as the service loads models or images. */
async function load() {
  try {
    const found = await request("runs");
    if (JSON.stringify(found) !== JSON.stringify(runs)) {
      runs = found;
      known.clear();
      show();
    }
    if (runs.some((run) => run.images === "loading")) setTimeout(load, LOADING_EVERY);
  } catch (error) {
    fail(error, load);
    if (error.status === 503) setTimeout(load, LOADING_EVERY);
  }
}

function show() {
  const run = theRun();
  if (![...run.merges, ...run.streams.map(({ name }) => name)].includes(state.merge)) state.merge = null;
  showHeader(run);
  showControls(run);
  showKnownHistory(run);
  showRanked(run);
  markShown(state.item);
  showItem(run, state.item, state.stream, { open, add, chooseStream: (name) => change({ stream: name }), fail });
}

function showHeader(run) {
  at("title").textContent = run.title;
  document.title = `${run.title} \u00b7 genrec`;
  at("facts").textContent = [run.dataset, plural(run.items, "item", "items"), plural(run.streams.length, "stream", "streams")]
    .filter(Boolean).join(" \u00b7 ");
  at("run-field").hidden = runs.length < 2;
  options(at("run"), runs.map(({ name }) => [name, name]), run.name);
  at("run").onchange = (event) => change({ run: event.target.value, merge: null, item: null, stream: null });
}

function showControls(run) {
  const alone = run.streams.some(({ name }) => name === state.merge) ? state.merge : merged;
  const several = run.streams.length > 1;
  at("streams").hidden = at("merge-field").hidden = !several;
  radios(at("streams").querySelector(".choices"), "streams", [
    { value: merged, label: "All streams" },
    ...run.streams.map(({ name }) => ({ value: name, label: streamName(run, name) })),
  ], alone, (value) => change({ merge: value || null }));
  at("merge").disabled = alone !== merged;
  options(at("merge"), run.merges.map((name) => [name, name.replaceAll("_", " ")]),
    run.merges.includes(state.merge) ? state.merge : run.merge);
  at("merge").onchange = (event) => change({ merge: event.target.value === run.merge ? null : event.target.value });
  const method = run.metrics.find(({ name }) => name === (alone || run.streams.length === 1
    ? `stream: ${alone || run.streams[0].name}` : `merge: ${state.merge ?? run.merge}`));
  at("metrics").textContent = method ? Object.entries(method.metrics).map(([name, { mean }]) => `${name} ${mean.toFixed(3)}`).join(" \u00b7 ") : "";
  at("metrics").title = "Of this ranking, in the evaluation of the run";
  radios(at("seen").querySelector(".choices"), "seen", [{ value: "filter", label: "Leave out" }, { value: "keep", label: "Allow" }],
    state.seen, (seen) => change({ seen }));
  options(at("count"), COUNTS.map((count) => [count, String(count)]), state.count);
  at("count").onchange = (event) => change({ count: Number(event.target.value) });
}

const knownKey = (run, key) => `${run.name}\n${key}`;

function remember(item, run = theRun()) {
  known.delete(knownKey(run, item.key));
  known.set(knownKey(run, item.key), item);
  if (known.size > MOST_KNOWN) known.delete(known.keys().next().value);
}

/** Shows the history at once with the titles and images that are known, and again when the others have come. */
async function showKnownHistory(run) {
  const items = () => state.history.map((key) => known.get(knownKey(run, key)) ?? { key, title: "", image: null });
  const draw = () => showHistory(items(), { open, change: (history) => change({ history }) });
  draw();
  const missing = [...new Set(state.history)].filter((key) => !known.has(knownKey(run, key)) && !asked.has(knownKey(run, key)));
  if (!missing.length) return;
  await Promise.all(missing.map(async (key) => {
    asked.add(knownKey(run, key));
    try {
      remember(await request(`items/${encodeURIComponent(key)}`, { query: { run: run.name } }), run);
    } catch (error) {
      if (error.status === 404) remember({ key, title: "", image: null, unknown: true }, run);
    } finally {
      asked.delete(knownKey(run, key));
    }
  }));
  if (run === theRun()) draw();
}

async function showRanked(run) {
  const body = {
    run: run.name, history: state.history, k: state.count, seen: state.seen, merge: state.merge, explain: true,
  };
  const wanted = JSON.stringify([body, run.images]);
  if (wanted === ranked) return;
  ranked = wanted;
  ranking?.abort();
  const { signal } = (ranking = new AbortController());
  waitForRanking();
  try {
    const { results: [result] } = await request("recommend", { body, signal });
    result.items.forEach((item) => { if (!known.has(knownKey(run, item.key))) remember(item, run); });
    showRanking(run, result, { history: state.history, shown: state.item, open, add });
    notify(null);
  } catch (error) {
    if (error.name === "AbortError") return;
    ranked = "";
    const hasNoPopularItems = error.status === 422 && !state.history.length; // a run of an earlier version
    showNoRanking(hasNoPopularItems ? "Add an item to the history to see recommendations." : "");
    if (!hasNoPopularItems) fail(error);
  }
}

function showBusy(seconds) {
  notify(seconds ? `The service is busy. Trying again in ${plural(seconds, "second", "seconds")}.` : null);
}

/** Shows an error with a button that tries again. */
function fail(error, again = show) {
  if (error.name !== "ServiceError") console.error(error);
  notify(error.message, again);
}

function notify(text, again = null) {
  const box = at("notice");
  box.hidden = !text;
  box.replaceChildren(...(text ? [element("span", {}, text)] : []),
    ...(again ? [element("button", { type: "button", class: "quiet", onclick: () => { notify(null); again(); } }, "Try again")] : []));
}

/** Asks the user for the API key; gives null if none is entered. */
function askForKey(wasRefused) {
  const dialog = at("key-dialog");
  at("key-text").textContent = wasRefused
    ? "The service does not accept this key. Check it and try again."
    : "This service asks for an API key. It is kept until you close or reload this page.";
  at("key").value = "";
  at("key-cancel").onclick = () => dialog.close("");
  at("key-form").onsubmit = (event) => {
    event.preventDefault();
    dialog.close(at("key").value);
  };
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => {
    resolve(dialog.returnValue.trim() || null);
    dialog.returnValue = at("key").value = "";
  }, { once: true }));
}

start();
