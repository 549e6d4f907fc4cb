/** One stream's code tree around an item: a strip for each level, and below a tree to browse, with the item's path. */

import { element, nameOf, paint, plural, tile, whole } from "./elements.js";
import { request } from "./service.js";

const AROUND = 2;
const AROUND_LEAF = 5;
const MORE = 50;
const PAGE = 500;
const MOST = 4000;
const SVG = "http://www.w3.org/2000/svg";

/** The tree of a stream, opened at an item. `load` asks for what is on the item's path; then `elements` can be shown. */
export class CodeTree {
  /**
   * @param stream  {name, levels} of /runs.
   * @param id  the item's codes.
   * @param open  gets the key of an item to show.
   * @param fail  gets errors of requests that the user makes in the tree.
   * @param signal  aborts the requests.
   */
  constructor(run, stream, id, { open, fail, signal }) {
    Object.assign(this, { run, stream, id, open, fail, signal, elements: [] });
    this.root = element("ul", { role: "tree", class: "tree", "aria-label": `Code tree of ${stream.name}` });
    this.root.addEventListener("keydown", (event) => this.onKey(event));
  }

  async load() {
    const levels = await Promise.all(this.id.map((_, depth) => this.children(this.id.slice(0, depth))));
    if (levels.some((nodes, depth) => !nodes.some((node) => node.code === this.id[depth]))) {
      this.elements = [element("p", { class: "empty" }, `A code of this stream has more than ${whole(MOST)} codes below it, too many to show.`)];
      return;
    }
    let list = this.root;
    levels.forEach((nodes, depth) => {
      this.fill(list, nodes, depth, nodes.findIndex((node) => node.code === this.id[depth]));
      const next = list.querySelector(":scope > [data-path]");
      if (depth + 1 < levels.length) {
        next.setAttribute("aria-expanded", "true");
        list = next.appendChild(element("ul", { role: "group" }));
      } else next.tabIndex = 0;
    });
    this.elements = [this.strips(levels), this.root];
    for (const made of this.elements) paint(made, this.run, this.stream.name);
  }

  /** The children of the node that some codes lead to, at most MOST of them. */
  async children(prefix) {
    const found = [];
    for (let total = 1; found.length < total;) {
      const query = { run: this.run.name, prefix: prefix.join(","), limit: PAGE, offset: found.length };
      const node = await request(`tree/${encodeURIComponent(this.stream.name)}`, { query, signal: this.signal });
      found.push(...node.children.map((child) => ({ ...child, prefix })));
      total = node.children.length ? Math.min(node.total, MOST) : 0;
    }
    return found;
  }

  /** Shows the children of a node: those around `center`, or the first ones; the others on request. */
  fill(list, nodes, depth, center) {
    const isLast = depth + 1 === this.stream.levels;
    const around = isLast ? AROUND_LEAF : AROUND;
    const first = center < 0 ? 0 : Math.max(0, center - around);
    const last = center < 0 ? Math.min(nodes.length, MORE) : Math.min(nodes.length, center + around + 1);
    list.append(...nodes.slice(first, last).map((node) => this.node(node, depth)));
    this.more(list, nodes, depth, first, -1);
    this.more(list, nodes, depth, last, 1);
  }

  /** The row that shows more nodes in front of the place `edge` (`step` -1) or from it on (`step` 1). */
  more(list, nodes, depth, edge, step) {
    const left = step < 0 ? edge : nodes.length - edge;
    if (left <= 0) return;
    const what = depth + 1 === this.stream.levels ? plural(left, "more item", "more items") : plural(left, "more code", "more codes");
    const label = `${what} ${step < 0 ? "before" : "after"}`;
    const made = element("li", { role: "treeitem", class: "more", "aria-level": depth + 1, "aria-label": label, tabindex: "-1" },
      element("div", { class: "row" }, label));
    made.act = () => {
      const [from, to] = step < 0 ? [Math.max(0, edge - MORE), edge] : [edge, Math.min(nodes.length, edge + MORE)];
      const added = nodes.slice(from, to).map((node) => this.node(node, depth));
      made.replaceWith(...added);
      this.more(list, nodes, depth, step < 0 ? from : to, step);
      this.focus(step < 0 ? added.at(-1) : added[0]);
    };
    made.firstChild.addEventListener("click", made.act);
    if (step < 0) list.prepend(made);
    else list.append(made);
  }

  node(node, depth) {
    const isPath = this.pathAt(node, depth);
    return depth + 1 === this.stream.levels ? this.leaf(node, isPath) : this.branch(node, depth, isPath);
  }

  pathAt(node, depth) {
    return node.code === this.id[depth] && node.prefix.every((code, level) => code === this.id[level]);
  }

  branch(node, depth, isPath) {
    const count = plural(node.num_items, "item", "items");
    const made = element("li", {
      role: "treeitem", "aria-expanded": "false", "aria-level": depth + 1, tabindex: "-1", "data-path": isPath,
      "aria-label": `Code ${node.code}, ${count}${isPath ? ", on the path of the item" : ""}`,
    }, element("div", { class: "row" },
      element("span", { class: "chevron", "aria-hidden": "true" }),
      element("span", { class: "code" }, String(node.code)),
      element("span", { class: "examples muted", dir: "auto" }, node.examples.map(nameOf).join(", ")),
      element("span", { class: "count muted" }, whole(node.num_items))));
    made.codes = [...node.prefix, node.code];
    made.act = () => (made.getAttribute("aria-expanded") === "true" ? this.collapse(made) : this.expand(made));
    made.firstChild.addEventListener("click", () => {
      this.focus(made);
      made.act();
    });
    return made;
  }

  leaf(node, isPath) {
    const [item] = node.examples;
    const made = element("li", {
      role: "treeitem", "aria-level": this.stream.levels, tabindex: "-1", "data-path": isPath, "aria-current": isPath && "true",
      "aria-label": `${nameOf(item)}, code ${node.code}${isPath ? ", this item" : ""}`,
    }, element("div", { class: "row" },
      element("span", { class: "code" }, String(node.code)),
      tile(item, 32),
      element("span", { class: "examples", dir: "auto" }, nameOf(item))));
    made.act = () => { if (!isPath) this.open(item.key); };
    made.firstChild.addEventListener("click", made.act);
    return made;
  }

  async expand(made) {
    if (made.querySelector(":scope > ul")) return made.setAttribute("aria-expanded", "true");
    if (made.getAttribute("aria-busy")) return;
    made.setAttribute("aria-busy", "true");
    try {
      const nodes = await this.children(made.codes);
      const list = made.appendChild(element("ul", { role: "group" }));
      this.fill(list, nodes, made.codes.length, -1);
      made.setAttribute("aria-expanded", "true");
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
    } finally {
      made.removeAttribute("aria-busy");
    }
  }

  collapse(made) {
    made.setAttribute("aria-expanded", "false");
  }

  focus(made) {
    for (const other of this.root.querySelectorAll("[tabindex='0']")) other.tabIndex = -1;
    made.tabIndex = 0;
    made.focus();
  }

  /** The rows that can be seen, from top to bottom. */
  rows() {
    return [...this.root.querySelectorAll("[role=treeitem]")].filter((row) => !row.parentElement.closest("[aria-expanded=false]"));
  }

  onKey(event) {
    const row = event.target.closest("[role=treeitem]");
    if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
    const rows = this.rows();
    const place = rows.indexOf(row);
    const expanded = row.getAttribute("aria-expanded");
    const parent = row.parentElement.closest("[role=treeitem]");
    const go = (other) => other && this.focus(other);
    const acts = {
      ArrowDown: () => go(rows[place + 1]),
      ArrowUp: () => go(rows[place - 1]),
      Home: () => go(rows[0]),
      End: () => go(rows.at(-1)),
      ArrowRight: () => (expanded === "false" ? this.expand(row) : expanded === "true" && go(rows[place + 1])),
      ArrowLeft: () => (expanded === "true" ? this.collapse(row) : go(parent)),
      Enter: () => row.act(),
      " ": () => row.act(),
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  }

  /** A strip for each level: the codes below the path so far, as wide as they have items; the path's code is marked. */
  strips(levels) {
    return element("div", { class: "strips" }, ...levels.flatMap((nodes, depth) => {
      const total = nodes.reduce((sum, node) => sum + node.num_items, 0);
      const place = nodes.findIndex((node) => node.code === this.id[depth]);
      const start = nodes.slice(0, place).reduce((sum, node) => sum + node.num_items, 0) / total;
      const width = nodes[place].num_items / total;
      const isLast = depth + 1 === levels.length;
      const label = element("p", {},
        element("span", {}, `Level ${depth + 1}: code `, element("strong", {}, String(this.id[depth]))),
        element("span", { class: "muted" }, `${whole(nodes[place].num_items)} of ${plural(total, "item", "items")}${isLast ? "" : `, ${plural(nodes.length, "code", "codes")}`}`));
      return isLast ? [label, strip(nodes, total, place)] : [label, strip(nodes, total, place), funnel(start, width)];
    }));
  }
}

function strip(nodes, total, place) {
  const made = drawing(1000, 18, "strip");
  let left = 0;
  nodes.forEach((node, other) => {
    const width = 1000 * (node.num_items / total);
    const gap = Math.min(2, width / 4);
    const box = shape("rect", { x: left, y: 0, width: Math.max(width - gap, 0.5), height: 18, class: other === place ? "on" : null });
    box.append(Object.assign(document.createElementNS(SVG, "title"), { textContent: `code ${node.code}: ${plural(node.num_items, "item", "items")}` }));
    made.append(box);
    left += width;
  });
  return made;
}

/** From the marked code down to the whole of the next strip. */
function funnel(start, width) {
  const made = drawing(1000, 14, "funnel");
  made.append(shape("polygon", { points: `${1000 * start},0 ${1000 * (start + width)},0 1000,14 0,14` }));
  return made;
}

function drawing(width, height, name) {
  return shape("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", class: name, "aria-hidden": "true" });
}

function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(name, value);
  return made;
}
