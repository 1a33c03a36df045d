"use strict";
// Small plots as SVG: the spectrum of a component, and how participants have it.
const svgElement = (tag, attributes, text) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
};
const PLOT = { width: 320, left: 8, right: 312 };

// Round numbers that divide a range into a few parts.
const ticksOf = (low, high) => {
  const rough = (high - low) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const ticks = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at += 1) ticks.push(at * step);
  return ticks;
};
const axis = (svg, low, high, y, title) => {
  const place = (value) => PLOT.left + ((value - low) / (high - low || 1)) * (PLOT.right - PLOT.left);
  svg.append(svgElement("path", { d: `M${PLOT.left} ${y}H${PLOT.right}`, class: "axis" }));
  for (const tick of ticksOf(low, high)) {
    const x = place(tick);
    const text = String(Number(tick.toPrecision(6)));
    svg.append(svgElement("path", { d: `M${x} ${y}v4`, class: "axis" }));
    svg.append(svgElement("text", { x, y: y + 15, "text-anchor": "middle" }, text));
  }
  svg.append(svgElement("text", { x: PLOT.right, y: y + 29, "text-anchor": "end" }, title));
  return place;
};

const drawSpectrum = (svg, component) => {
  const { hz } = component.decomposition;
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${PLOT.width} 150`);
  const place = axis(svg, 0, hz[hz.length - 1], 112, "frequency, Hz");
  if (hz[hz.length - 1] > 0.1) {
    const x = place(0.1);
    svg.append(svgElement("path", { d: `M${x} 12V112`, class: "guide" }));
    svg.append(svgElement("text", { x: x + 4, y: 20 }, "0.1 Hz"));
  }
  const points = component.power.map((one, index) => `${place(hz[index]).toFixed(1)} ${(112 - one * 0.1).toFixed(1)}`);
  svg.append(svgElement("path", { d: `M${points.join("L")}`, class: "line" }));
};

const drawParticipants = (svg, component, which, title) => {
  const values = component.fits[which];
  const known = values.filter((one) => one !== null);
  const [low, high] = which === 0
    ? [Math.min(0, ...known), Math.max(1, ...known)]
    : [0, Math.max(...known) * 1.05 || 1];
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${PLOT.width} 84`);
  const place = axis(svg, low, high, 46, title);
  const middle = known.slice().sort((a, b) => a - b)[Math.floor(known.length / 2)];
  svg.append(svgElement("path", { d: `M${place(middle)} 4V46`, class: "guide" }));
  const apart = new Set(component.apart[which]);
  const radius = known.length > 200 ? 1.6 : 3.2;
  values.forEach((value, index) => {
    if (value === null) return;
    // Spread in a fixed pattern, so that equal values do not overlap.
    const y = 7 + ((index * 0.618) % 1) * 33;
    const dot = svgElement("circle", { cx: place(value).toFixed(1), cy: y.toFixed(1), r: radius, class: apart.has(index) ? "dot apart" : "dot" });
    dot.append(svgElement("title", {}, `${component.decomposition.participants[index]}: ${value}`));
    svg.append(dot);
  });
};

// Who has it most and least, in words.
const extremes = (component) => {
  const { participants } = component.decomposition;
  const sorted = component.fits[0]
    .map((value, index) => [value, participants[index]])
    .filter(([value]) => value !== null)
    .sort((a, b) => b[0] - a[0]);
  if (sorted.length < 2) return "";
  const [[most, first], [least, last]] = [sorted[0], sorted[sorted.length - 1]];
  const apart = [...new Set(component.apart.flat())].sort((a, b) => a - b).map((index) => participants[index]);
  const few = apart.length > 6 ? `${apart.slice(0, 6).join(", ")} and ${apart.length - 6} more` : apart.join(", ");
  return `Most like the group's map in ${first} (r ${most.toFixed(2)}), least in ${last} (r ${least.toFixed(2)}).` +
    (few ? ` Apart from the others (orange): ${few}.` : "");
};

// A matrix of correlations; a cell is chosen with the mouse or the arrow keys.
const signedColour = (share) => {
  const anchors = [[5, 48, 97], [67, 147, 195], [255, 255, 255], [214, 96, 77], [103, 0, 31]];
  const at = (Math.min(Math.max(share, -1), 1) + 1) * 2;
  const first = Math.min(Math.floor(at), 3);
  return `rgb(${anchors[first].map((one, i) => Math.round(one + (at - first) * (anchors[first + 1][i] - one))).join(" ")})`;
};
class Matrix {
  constructor(figure, rows, columns, r, hasDiagonal) {
    Object.assign(this, { rows, columns, r, hasDiagonal, at: [0, 0] });
    this.canvas = figure.querySelector("canvas");
    this.told = figure.querySelector("output");
    this.cell = Math.max(2, Math.min(20, Math.floor(900 / Math.max(rows.length, columns.length))));
    this.canvas.width = this.cell * columns.length;
    this.canvas.height = this.cell * rows.length;
    this.canvas.style.maxWidth = `${this.canvas.width}px`;
    this.limit = Math.max(1, ...r.flatMap((row, i) => row.map((one, j) => (this.isShown(i, j) ? Math.abs(one) : 0))));
    for (const name of ["pointermove", "click"]) this.canvas.addEventListener(name, (event) => this.point(event));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    const ends = figure.querySelector(".ends");
    ends.textContent = `from ${(-this.limit / 100).toFixed(2)} (blue) over 0 (white) to ${(this.limit / 100).toFixed(2)} (red)`;
    this.draw();
  }

  isShown(row, column) {
    return this.hasDiagonal || row !== column;
  }

  draw() {
    const pen = this.canvas.getContext("2d");
    this.r.forEach((row, i) => row.forEach((one, j) => {
      pen.fillStyle = this.isShown(i, j) ? signedColour(one / this.limit) : "#e4e7eb";
      pen.fillRect(j * this.cell, i * this.cell, this.cell, this.cell);
    }));
    pen.strokeStyle = "#000";
    pen.lineWidth = 2;
    pen.strokeRect(this.at[1] * this.cell + 1, this.at[0] * this.cell + 1, this.cell - 2, this.cell - 2);
  }

  choose(row, column) {
    this.at = [Math.min(Math.max(row, 0), this.rows.length - 1), Math.min(Math.max(column, 0), this.columns.length - 1)];
    const named = (id) => {
      const { name, label } = components.get(id);
      return element("a", { href: `#${id}` }, label ? `${name} (${label})` : name);
    };
    const [i, j] = this.at;
    this.told.replaceChildren(named(this.rows[i]), " and ", named(this.columns[j]), `: r = ${(this.r[i][j] / 100).toFixed(2)}`);
    this.draw();
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    this.choose(
      Math.floor(((event.clientY - box.top) / box.height) * this.rows.length),
      Math.floor(((event.clientX - box.left) / box.width) * this.columns.length),
    );
    if (event.type === "click") choose(this.rows[this.at[0]], true);
  }

  key(event) {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (move) this.choose(this.at[0] + move[0], this.at[1] + move[1]);
    else if (event.key === "Enter") choose(this.rows[this.at[0]], true);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
