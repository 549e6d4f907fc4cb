/** What the page shows, kept in the address behind "#", so that a link or the back button restores it. */

export const COUNTS = [5, 10, 20, 50];
const START = { run: null, history: [], merge: null, seen: "filter", count: 10, item: null, stream: null };

/** The state that the address holds; anything else in it is ignored. */
export function readState() {
  const given = new URLSearchParams(location.hash.slice(1));
  const count = Number(given.get("k"));
  return {
    run: given.get("run"),
    history: given.getAll("h").filter(Boolean),
    merge: given.get("merge"),
    seen: given.get("seen") === "keep" ? "keep" : START.seen,
    count: COUNTS.includes(count) ? count : START.count,
    item: given.get("item") || null,
    stream: given.get("stream"),
  };
}

/** Writes a state into the address, as a new entry of the browser's history. */
export function writeState(state) {
  const given = new URLSearchParams();
  for (const [name, value, start] of [
    ["run", state.run, START.run], ["merge", state.merge, START.merge], ["seen", state.seen, START.seen],
    ["k", state.count, START.count], ["item", state.item, START.item], ["stream", state.stream, START.stream],
  ]) if (value !== start) given.set(name, value);
  for (const key of state.history) given.append("h", key);
  const hash = `#${given}`;
  if (hash !== (location.hash || "#")) history.pushState(null, "", hash);
}
