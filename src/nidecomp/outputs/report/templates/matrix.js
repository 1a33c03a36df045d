"use strict";
// Matrices of correlations, with the names of their rows and columns. A cell is chosen with the mouse or the
// arrow keys, and a table has the same numbers.
const [LARGEST_CELL, SMALLEST_CELL, MOST_NAMES, MATRIX_WIDTH] = [24, 11, 150, 880];

const signedColour = (share) => {
  const anchors = [[5, 48, 97], [67, 147, 195], [255, 255, 255], [214, 96, 77], [103, 0, 31]];
  const at = (Math.min(Math.max(share, -1), 1) + 1) * 2;
  const first = Math.min(Math.floor(at), 3);
  return `rgb(${anchors[first].map((one, i) => Math.round(one + (at - first) * (anchors[first + 1][i] - one))).join(" ")})`;
};

// A component as a link: its label where that is sure, its name, and what to be careful about.
const nameOf = ({ id, name, label, isSure, flags, isAtChance }) => {
  const link = element("a", { href: `#${id}`, class: "named-link" });
  if (isSure) link.append(element("span", { class: "sure" }, label), " ");
  link.append(name);
  if (flags.length) link.append(" ", element("span", { class: "flag", title: flags.join(", ") }, "⚑"));
  if (isAtChance) link.append(" ", element("span", { class: "soft" }, "at chance"));
  return link;
};

class Matrix {
  // `kinds`: matrices of the same components, in hundredths, each with what its values are.
  constructor(figure, { rows, columns, kinds, isSymmetric }) {
    Object.assign(this, { figure, rows, columns, kinds, isSymmetric, kind: kinds[0], at: null });
    this.find = (name) => figure.querySelector(`.${name}`);
    this.canvas = this.find("cells");
    this.pen = this.canvas.getContext("2d");
    this.told = this.find("pair");
    // Beside the numbers there is room for a few dozen.
    figure.classList.toggle("wide", Math.max(rows.length, columns.length) > 40);
    this.arrange(rows.map((_, index) => index), columns.map((_, index) => index));
    for (const name of ["pointermove", "click"]) this.canvas.addEventListener(name, (event) => this.point(event));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("focus", () => { if (!this.at) this.choose(0, isSymmetric ? 1 : 0); });
    this.addTable();
  }

  // Rows and columns in another order; what is chosen is forgotten.
  arrange(rowOrder, columnOrder) {
    Object.assign(this, { rowOrder, columnOrder, at: null });
    const [height, width] = [rowOrder.length, columnOrder.length];
    const n = Math.max(height, width);
    const least = n > MOST_NAMES ? 3 : SMALLEST_CELL;
    // Names take a good third of a narrow screen.
    const room = Math.min(MATRIX_WIDTH, 0.58 * this.figure.clientWidth || MATRIX_WIDTH);
    this.cell = Math.max(least, Math.min(LARGEST_CELL, Math.floor(room / n)));
    this.canvas.width = this.cell * width;
    this.canvas.height = this.cell * height;
    this.names = rowOrder.map((index) => element("li", {}, nameOf(components.get(this.rows[index]))));
    this.heads = columnOrder.map((index) => element("li", {}, element("span", {}, components.get(this.columns[index]).name)));
    this.find("names").replaceChildren(...(n > MOST_NAMES ? [] : this.names));
    this.find("heads").replaceChildren(...(n > MOST_NAMES ? [] : this.heads));
    this.figure.style.setProperty("--cell", `${this.cell}px`);
    this.figure.style.setProperty("--letters", `${Math.min(13, this.cell - 1)}px`);
    this.draw();
  }

  show(kind) {
    this.kind = kind;
    if (this.at) this.choose(...this.at);
    else this.draw();
  }

  value(i, j) {
    return this.kind.r[this.rowOrder[i]][this.columnOrder[j]];
  }

  isDiagonal(i, j) {
    return this.isSymmetric && this.rowOrder[i] === this.columnOrder[j];
  }

  draw() {
    const { pen, cell } = this;
    const known = this.rowOrder.flatMap((_, i) => this.columnOrder.map((__, j) => (this.isDiagonal(i, j) ? 0 : Math.abs(this.value(i, j)))));
    const limit = 10 * Math.max(1, Math.ceil(known.reduce((a, b) => Math.max(a, b), 0) / 10));
    this.rowOrder.forEach((_, i) => this.columnOrder.forEach((__, j) => {
      pen.fillStyle = this.isDiagonal(i, j) ? "#c4cad1" : signedColour(this.value(i, j) / limit);
      pen.fillRect(j * cell, i * cell, cell, cell);
    }));
    if (this.at) {
      const [i, j] = this.at;
      pen.strokeStyle = "#000";
      pen.lineWidth = 2;
      pen.strokeRect(j * cell + 1, i * cell + 1, cell - 2, cell - 2);
    }
    this.drawScale(limit);
  }

  drawScale(limit) {
    const bar = this.find("scale-bar");
    const pen = bar.getContext("2d");
    for (let x = 0; x < bar.width; x += 1) {
      pen.fillStyle = signedColour((2 * x) / (bar.width - 1) - 1);
      pen.fillRect(x, 0, 1, bar.height);
    }
    this.find("low").textContent = `−${(limit / 100).toFixed(1)}`;
    this.find("high").textContent = `+${(limit / 100).toFixed(1)}`;
    this.find("unit").textContent = `r (${this.kind.words})`;
  }

  choose(row, column) {
    const i = Math.min(Math.max(row, 0), this.rowOrder.length - 1);
    const j = Math.min(Math.max(column, 0), this.columnOrder.length - 1);
    this.at = [i, j];
    this.names.forEach((one, index) => one.classList.toggle("on", index === i || (this.isSymmetric && index === j)));
    this.heads.forEach((one, index) => one.classList.toggle("on", index === j));
    const [one, other] = [this.rows[this.rowOrder[i]], this.columns[this.columnOrder[j]]];
    const value = this.isDiagonal(i, j) ? " with itself" : [" and ", nameOf(components.get(other)), `: r = ${(this.value(i, j) / 100).toFixed(2)}`];
    this.told.replaceChildren(nameOf(components.get(one)), ...[value].flat());
    this.draw();
  }

  open() {
    openComponent(this.rows[this.rowOrder[this.at[0]]]);
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * this.rowOrder.length);
    const column = Math.floor(((event.clientX - box.left) / box.width) * this.columnOrder.length);
    if (!this.at || row !== this.at[0] || column !== this.at[1]) this.choose(row, column);
    if (event.type === "click") this.open();
  }

  key(event) {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (move && this.at) this.choose(this.at[0] + move[0], this.at[1] + move[1]);
    else if (event.key === "Enter" && this.at) this.open();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // The same numbers as a table, the strongest first; it is made when it is opened.
  addTable() {
    const details = this.figure.querySelector("details");
    details?.addEventListener("toggle", () => {
      const root = details.querySelector(".pairs");
      if (root.childElementCount) return; // It is there already.
      const pairs = this.rows.flatMap((_, i) => this.columns.map((__, j) => [i, j]))
        .filter(([i, j]) => !this.isSymmetric || i < j)
        .sort(([a, b], [c, d]) => Math.abs(this.kinds[0].r[c][d]) - Math.abs(this.kinds[0].r[a][b]));
      const described = (id) => {
        const { name, label, isSure } = components.get(id);
        return isSure ? `${name} (${label})` : name;
      };
      const rows = pairs.map(([i, j]) => [described(this.rows[i]), described(this.columns[j]), ...this.kinds.map(({ r }) => String(r[i][j] / 100))]);
      new Table(root, {
        heads: ["component", "and", ...this.kinds.map(({ words }) => words)],
        isNumber: [false, false, ...this.kinds.map(() => true)],
        rows,
        links: Object.fromEntries([...this.rows, ...this.columns].map((id) => [described(id), `#${id}`])),
      });
    });
  }
}

// The group's connectome, whose rows stand as they go together or in the order of the components.
const addConnectome = (figure) => {
  const { components: all, connectome } = data.decompositions.find(({ key }) => key === figure.dataset.connectome);
  const ids = all.map(({ id }) => id);
  const matrix = new Matrix(figure, { rows: ids, columns: ids, kinds: connectome.kinds, isSymmetric: true });
  const [kinds, order] = figure.querySelectorAll("select");
  kinds.append(...connectome.kinds.map(({ words }) => new Option(words)));
  kinds.parentElement.hidden = connectome.kinds.length < 2;
  kinds.addEventListener("change", () => matrix.show(connectome.kinds[kinds.selectedIndex]));
  const arrange = () => {
    const wanted = order.value === "numbered" ? ids.map((_, index) => index) : connectome.order;
    matrix.arrange(wanted, wanted);
  };
  order.addEventListener("change", arrange);
  arrange();
};
for (const figure of document.querySelectorAll("figure[data-connectome]")) addConnectome(figure);
document.querySelectorAll("figure[data-matrix]").forEach((figure) => {
  const { rows, columns, r } = data.matrices[Number(figure.dataset.matrix)];
  new Matrix(figure, { rows, columns, kinds: [{ words: "correlation of maps", r }], isSymmetric: false });
});
