"use strict";
// The gallery: which component is chosen, which are shown, and what it is compared with.
const tiles = [...document.querySelectorAll(".tile")];
const controls = Object.fromEntries(
  ["words", "flags", "least", "decomposition", "order", "compare", "shown"].map((name) => [name, byId(`ui-${name}`)]),
);
let chosen = null;

const isShown = (tile) => !tile.hidden;
const filterTiles = () => {
  const words = controls.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const key = controls.decomposition.value;
  const least = Number(controls.least.value);
  byId("ui-least-told").textContent = least.toFixed(2);
  let count = 0;
  for (const tile of tiles) {
    const one = components.get(tile.id);
    const text = `${one.name} ${one.label} ${one.flags.join(" ")}`.toLowerCase();
    const isClean = !one.flags.length && !one.isAtChance;
    const isWanted = { all: true, clean: isClean, flagged: one.flags.length > 0, chance: one.isAtChance }[controls.flags.value];
    const isThere = one.decomposition.key === key;
    tile.hidden = !(isThere && isWanted && words.every((word) => text.includes(word)) &&
      (least === 0 || (one.reproducibility ?? 0) >= least));
    count += isShown(tile);
  }
  for (const group of document.querySelectorAll(".tiles")) group.parentElement.hidden = group.dataset.key !== key;
  const all = tiles.filter((tile) => components.get(tile.id).decomposition.key === key).length;
  byId("ui-count").textContent = `${count} of ${all} shown`;
};

// The order of the tiles, which is that of the arrow keys, too.
const arrangeTiles = () => {
  const rank = new Map();
  for (const { components: all, connectome } of data.decompositions) {
    const numbered = all.map((_, index) => index);
    const label = (index) => all[index].label || "\uffff";
    const order = {
      numbered,
      label: numbered.slice().sort((a, b) => (label(a) < label(b) ? -1 : label(a) > label(b) ? 1 : a - b)),
      connectivity: connectome?.order ?? numbered,
    }[controls.order.value];
    order.forEach((index) => rank.set(all[index].id, rank.size));
  }
  tiles.sort((a, b) => rank.get(a.id) - rank.get(b.id));
  for (const tile of tiles) tile.parentElement.append(tile);
};

// The panel of the partner in another decomposition, or of a component that was asked for.
const showPartner = () => {
  const other = panels[1];
  const key = controls.compare.value;
  const found = (partners.get(chosen.id) || []).find(({ component }) => component.decomposition.key === key);
  const told = found
    ? `The maps of ${chosen.name} and its partner correlate with r = ${rounded(found.r)}.`
    : `${chosen.name} has no partner there.`;
  byId("ui-partner").textContent = key ? told : "";
  byId("ui-panels").classList.toggle("two", Boolean(found));
  byId("ui-second-panel").hidden = !found;
  other.component = null;
  other.volume = null;
  if (found) other.show(found.component, false);
};

const choose = (id, isNew) => {
  const component = components.get(id);
  if (!component) return;
  const isFirst = chosen === null;
  chosen = component;
  if (controls.decomposition.value !== component.decomposition.key) {
    controls.decomposition.value = component.decomposition.key;
    listComparable();
  }
  filterTiles();
  for (const tile of tiles) {
    if (tile.id === id) tile.setAttribute("aria-current", "true");
    else tile.removeAttribute("aria-current");
  }
  panels[0].show(component, true);
  showPartner();
  const hash = `#${id}`;
  if (location.hash !== hash && !isFirst) history[isNew ? "pushState" : "replaceState"](null, "", hash);
  const tile = byId(id);
  const box = tile.closest(".gallery");
  const [top, bottom] = [tile.offsetTop - box.offsetTop, tile.offsetTop - box.offsetTop + tile.offsetHeight];
  if (top < box.scrollTop || bottom > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 3;
};
const go = (step) => {
  const shown = tiles.filter(isShown);
  const at = shown.findIndex((tile) => tile.id === chosen?.id);
  const next = shown[at < 0 ? 0 : at + step];
  if (next) choose(next.id, false);
};

// A component that was asked for from another part of the page.
const openComponent = (id) => {
  choose(id, true);
  byId("part-components").scrollIntoView();
  if (window.innerWidth < 900) byId("ui-panels").scrollIntoView();
};

// Decompositions in which components of the one that is shown have partners.
const listComparable = () => {
  const key = controls.decomposition.value;
  const keys = new Set();
  for (const [id, found] of partners) {
    if (components.get(id).decomposition.key !== key) continue;
    for (const { component } of found) keys.add(component.decomposition.key);
  }
  const before = controls.compare.value;
  const titled = data.decompositions.filter((one) => keys.has(one.key));
  controls.compare.replaceChildren(new Option("nothing", ""), ...titled.map((one) => new Option(one.title, one.key)));
  // What was compared goes on to be, the other way round where it is the one that is shown now.
  if (before) controls.compare.value = keys.has(before) ? before : titled[0]?.key ?? "";
  controls.compare.parentElement.hidden = titled.length === 0;
};

const start = async () => {
  document.documentElement.classList.add("live");
  panels.push(new Panel(byId("ui-first-panel"), 1), new Panel(byId("ui-second-panel"), 2));
  await Promise.all(panels.map((panel) => panel.begin()));
  for (const name of ["words", "least"]) controls[name].addEventListener("input", filterTiles);
  controls.flags.addEventListener("change", filterTiles);
  controls.decomposition.addEventListener("change", () => {
    listComparable();
    filterTiles();
    const first = tiles.find(isShown) || tiles.find((tile) => components.get(tile.id).decomposition.key === controls.decomposition.value);
    if (first) choose(first.id, true);
  });
  controls.order.addEventListener("change", arrangeTiles);
  controls.order.querySelector("[value=connectivity]").hidden = !data.decompositions.some(({ connectome }) => connectome);
  controls.compare.addEventListener("change", showPartner);
  controls.shown.addEventListener("change", () => {
    place.shown = controls.shown.value;
    redrawAll();
  });
  byId("ui-before").addEventListener("click", () => go(-1));
  byId("ui-next").addEventListener("click", () => go(1));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    const id = link?.getAttribute("href").slice(1);
    if (!link || !components.has(id) || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const isSeen = byId("ui-panels").getBoundingClientRect().top <= window.innerHeight * 0.7;
    if (link.classList.contains("tile") && isSeen) choose(id, true);
    else openComponent(id);
  });
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, select, canvas, .scroll")) return;
    event.preventDefault();
    go(step);
    if (event.target.closest(".tile")) byId(chosen.id).focus({ preventScroll: true });
  });
  window.addEventListener("popstate", () => choose(location.hash.slice(1), false));
  listComparable();
  const asked = decodeURIComponent(location.hash.slice(1));
  const first = components.has(asked) ? asked : tiles[0].id;
  choose(first, false);
  if (first === asked) byId("part-components").scrollIntoView();
};
const started = tiles.length > 0 ? start() : Promise.resolve();
