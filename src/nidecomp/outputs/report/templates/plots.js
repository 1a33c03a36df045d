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
  const known = component.fits[which].filter((one) => one !== null);
  const range = which === 0
    ? [Math.min(0, ...known), Math.max(1, ...known)]
    : [0, Math.max(...known) * 1.05 || 1];
  drawStrip(svg, component.fits[which], component.decomposition.participants, component.apart[which], range, title);
};

// A dot for each participant along an axis; who stands apart is orange. A line marks the median.
const drawStrip = (svg, values, names, places, [low, high], title) => {
  const known = values.filter((one) => one !== null);
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${PLOT.width} 84`);
  const place = axis(svg, low, high, 46, title);
  const middle = known.slice().sort((a, b) => a - b)[Math.floor(known.length / 2)];
  svg.append(svgElement("path", { d: `M${place(middle)} 4V46`, class: "guide" }));
  const apart = new Set(places);
  const radius = known.length > 200 ? 1.6 : 3.2;
  values.forEach((value, index) => {
    if (value === null) return;
    // Spread in a fixed pattern, so that equal values do not overlap.
    const y = 7 + ((index * 0.618) % 1) * 33;
    const dot = svgElement("circle", { cx: place(value).toFixed(1), cy: y.toFixed(1), r: radius, class: apart.has(index) ? "dot apart" : "dot" });
    dot.append(svgElement("title", {}, `${names[index]}: ${value}`));
    dot.dataset.name = names[index];
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

// The components that a component's time courses correlate with most, with bars on both sides of 0.
const N_PARTNERS = 5;
const strongest = (component) => {
  const { kinds } = component.decomposition.connectome;
  return component.decomposition.components
    .map((one, index) => ({ one, r: kinds.map(({ r }) => r[component.index][index] / 100), index }))
    .filter(({ index }) => index !== component.index)
    .sort((a, b) => Math.abs(b.r[0]) - Math.abs(a.r[0]))
    .slice(0, N_PARTNERS);
};
const partnerRows = (component) => {
  const found = strongest(component);
  const most = Math.max(0.1, ...found.map(({ r }) => Math.abs(r[0])));
  return found.map(({ one, r }) => {
    const bar = svgElement("svg", { viewBox: "-50 0 100 4", preserveAspectRatio: "none", class: "r-bar", "aria-hidden": "true" });
    const width = (50 * Math.abs(r[0])) / most;
    bar.append(svgElement("path", { d: "M-50 2H50M0 0V4", class: "axis", "vector-effect": "non-scaling-stroke" }));
    bar.append(svgElement("rect", { x: r[0] < 0 ? -width : 0, y: 0, width, height: 4, class: r[0] < 0 ? "minus" : "plus" }));
    const partial = r.length > 1 ? element("span", { class: "soft" }, ` (${r[1].toFixed(2)})`) : "";
    return element("li", {}, nameOf(one), element("span", { class: "n" }, r[0].toFixed(2), partial), bar);
  });
};

// All components at once: how reproducible they are, and how much they explain. A click opens one.
const drawOverview = (svg, all) => {
  const known = all.filter((one) => one.reproducibility !== null && one.explained !== null);
  svg.setAttribute("viewBox", "0 0 320 190");
  const place = axis(svg, 0, 1, 150, "reproducibility (|r| between halves)");
  const most = Math.max(...known.map((one) => one.explained));
  const height = (one) => 150 - (138 * one.explained) / (most || 1);
  svg.append(svgElement("path", { d: `M${PLOT.left} 150V12h4`, class: "axis" }));
  svg.append(svgElement("text", { x: PLOT.left + 8, y: 12 }, `${(100 * most).toPrecision(2)} % of the variance explained`));
  const chance = known.map((one) => one.chance).find((one) => one !== null);
  if (chance !== undefined) {
    const x = place(chance);
    svg.append(svgElement("path", { d: `M${x} 16V150`, class: "guide" }));
    svg.append(svgElement("text", { x: x + 4, y: 26 }, "chance"));
  }
  for (const one of known) {
    const kind = one.flags.length ? "dot apart" : one.isAtChance ? "dot chance-dot" : "dot";
    // The picture is one of numbers that the table has; who uses the keyboard need not pass through it.
    const link = svgElement("a", { href: `#${one.id}`, tabindex: "-1" });
    const dot = svgElement("circle", { cx: place(Math.max(one.reproducibility, 0)).toFixed(1), cy: height(one).toFixed(1), r: 4, class: kind });
    const told = [one.name, one.label, `reproducibility ${rounded(one.reproducibility)}`, `${(100 * one.explained).toPrecision(2)} % of the variance`, ...one.flags];
    dot.append(svgElement("title", {}, told.filter(Boolean).join(", ")));
    link.append(dot);
    svg.append(link);
  }
};
for (const svg of document.querySelectorAll("svg[data-overview]")) {
  drawOverview(svg, data.decompositions.find(({ key }) => key === svg.dataset.overview).components);
}

// Data quality of the participants; a click on a dot finds it in the table.
const drawQuality = (root) => {
  const { names, apart, strips } = data.quality;
  for (const { title, values } of strips) {
    const known = values.filter((one) => one !== null);
    const [low, high] = [known.reduce((a, b) => Math.min(a, b)), known.reduce((a, b) => Math.max(a, b))];
    const margin = (high - low || Math.abs(high) || 1) * 0.05;
    const svg = svgElement("svg", { role: "img", "aria-label": `${title} of each participant, as in the table` });
    drawStrip(svg, values, names, apart, [low - margin, high + margin], title);
    root.append(svg);
  }
  root.addEventListener("click", (event) => {
    const name = event.target.dataset?.name;
    const field = document.querySelector("#part-t-participants input");
    if (!name || !field) return;
    field.value = name;
    field.dispatchEvent(new Event("input"));
  });
};
const quality = byId("ui-quality");
if (quality) drawQuality(quality);
