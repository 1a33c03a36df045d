"use strict";
// Tables are drawn from the page's data, some rows at a time, sorted by their heads and filtered by the
// field above them.
const [ROWS, PRINTED_ROWS] = [50, 1000];
const tableData = Object.assign(
  ...["ui-tables", "ui-resources"].map((id) => JSON.parse(byId(id)?.textContent ?? "{}")),
);
const valueOf = (text) => (text === "" || isNaN(text) ? text.toLowerCase() : Number(text));
const comparison = (a, b) => {
  if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
  return typeof a === "number" ? -1 : 1;
};
// As in sentences.
const SMALLEST_P = 0.0001;
const shortened = (text, isP) => {
  if (text === "" || isNaN(text) || /^-?\d+$/.test(text)) return text;
  if (isP && Number(text) < SMALLEST_P) return `< ${SMALLEST_P}`;
  return String(Number(Number(text).toPrecision(3)));
};

class Table {
  constructor(root, { heads, isNumber, isP = [], rows, links }) {
    Object.assign(this, { root, isNumber, isP, rows, links, shown: rows, most: ROWS, sorted: -1, isDown: false });
    this.body = element("tbody");
    this.heads = heads.map((title, index) => {
      const button = element("button", { type: "button" }, title);
      button.addEventListener("click", () => this.sort(index));
      const attributes = { scope: "col", "aria-sort": "none" };
      if (isNumber[index]) attributes.class = "n";
      return element("th", attributes, button);
    });
    const label = root.dataset.label;
    const table = element("table", {}, element("thead", {}, element("tr", {}, ...this.heads)), this.body);
    this.field = element("input", { type: "search", "aria-label": `Filter ${label}` });
    this.field.addEventListener("input", () => this.filter());
    this.told = element("output", { class: "small" });
    this.more = element("button", { type: "button", class: "plain" }, "Show more rows");
    this.more.addEventListener("click", () => { this.most += 10 * ROWS; this.draw(); });
    const tools = element("p", { class: "tools" }, element("label", {}, "Filter ", this.field), " ", this.told);
    tools.hidden = rows.length < 4;
    this.rest = element("p", { class: "small print-only" });
    root.replaceChildren(tools,
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, table), this.more, this.rest);
    this.draw();
    // Paper has no button for more.
    window.addEventListener("beforeprint", () => this.draw(PRINTED_ROWS));
    window.addEventListener("afterprint", () => this.draw());
  }

  sort(index) {
    this.isDown = this.sorted === index && !this.isDown;
    this.sorted = index;
    this.heads.forEach((head, one) => head.setAttribute("aria-sort",
      one === index ? (this.isDown ? "descending" : "ascending") : "none"));
    this.filter();
  }

  filter() {
    const words = this.field.value.toLowerCase().split(/\s+/);
    this.shown = this.rows.filter((row) => {
      const text = row.join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    });
    if (this.sorted >= 0) {
      const keyed = this.shown.map((row) => [valueOf(row[this.sorted]), row]);
      // What is not known stands last, whichever way.
      keyed.sort(([a], [b]) => (a === "" || b === "" ? (a === "") - (b === "") : (this.isDown ? -1 : 1) * comparison(a, b)));
      this.shown = keyed.map(([, row]) => row);
    }
    this.most = ROWS;
    this.draw();
  }

  draw(most = this.most) {
    this.body.replaceChildren(...this.shown.slice(0, most).map((row) => element("tr", {}, ...row.map((cell, index) => {
      const link = index === 0 && Object.hasOwn(this.links, cell) ? this.links[cell] : undefined;
      const text = shortened(cell, this.isP[index]);
      const kind = this.isNumber[index] ? { class: "n" } : text.length > 30 ? { class: "long" } : {};
      const made = element("td", kind, link ? element("a", { href: link }, text) : text);
      if (text !== cell) made.dataset.value = cell;
      return made;
    }))));
    this.more.hidden = this.shown.length <= this.most;
    const nMore = this.shown.length - PRINTED_ROWS;
    this.rest.textContent = nMore > 0 ? `${nMore} more rows are in ${this.root.dataset.file}.` : "";
    const rows = this.rows.length;
    this.told.textContent = this.shown.length === rows ? `${rows} rows` : `${this.shown.length} of ${rows} rows`;
  }
}
for (const root of document.querySelectorAll(".table")) new Table(root, tableData[root.id]);
