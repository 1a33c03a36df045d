"use strict";
// One component: slices that move together, a glass brain or the cortex, plots and numbers. Two panels stand
// side by side where a component is compared with its partner; both go through the same place.
const place = { mm: [0, 0, 0], shown: "faint" };
const panels = [];
const moveAll = () => panels.forEach((panel) => panel.drawSlices());
const redrawAll = () => panels.forEach((panel) => panel.redraw());
const GLASS = [["x", -1], ["y", 0], ["x", 1], ["z", 0]];
const STEPS = {
  ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowDown: [0, -1, 0], ArrowUp: [0, 1, 0],
  PageDown: [0, 0, -1], PageUp: [0, 0, 1],
};

class Panel {
  constructor(root, number) {
    root.append(byId("ui-panel").content.cloneNode(true));
    this.root = root;
    this.component = null;
    this.find = (name) => root.querySelector(`.${name}`);
    this.canvases = Object.fromEntries(Object.keys(AXES).map((axis) => [axis, root.querySelector(`canvas[data-axis=${axis}]`)]));
    this.sliders = Object.fromEntries(Object.keys(AXES).map((axis) => [axis, root.querySelector(`input[data-axis=${axis}]`)]));
    this.glass = [...root.querySelectorAll("canvas.glass")];
    this.find("title").id = `ui-title-${number}`;
    root.setAttribute("aria-labelledby", `ui-title-${number}`);
    this.find("maps").hidden = !canDraw;
    this.find("no-maps").hidden = canDraw || data.scene === null;
    // Without a cortex there are slices and a glass brain; beside it, slices where there are voxels.
    const { cortex, grid } = data.scene ?? {};
    this.cortex = cortex ? new Cortex(this.find("cortex")) : null;
    for (const one of root.querySelectorAll(".of-voxels")) one.hidden = Boolean(cortex) && !grid;
    for (const one of root.querySelectorAll(".of-glass")) one.hidden = Boolean(cortex);
  }

  async begin() {
    if (!canDraw) return;
    this.scene = await stage;
    this.frames = {};
    this.glassFrames = [];
    if (this.scene.grid) this.beginSlices();
    this.cortex?.begin(this.scene.meshes);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.find("maps"));
  }

  beginSlices() {
    const { grid } = this.scene;
    for (const [axis, canvas] of Object.entries(this.canvases)) {
      this.frames[axis] = new Frame(canvas, grid, axis);
      this.listen(canvas, axis);
    }
    if (!this.cortex) this.glassFrames = this.glass.map((canvas, index) => new Frame(canvas, grid, GLASS[index][0], index === 0));
    // Canvases of a row have one scale: their widths are as their extents.
    for (const [axis, canvas] of Object.entries(this.canvases)) canvas.parentElement.style.flex = `${this.frames[axis].size[0]} 1 0`;
    this.glassFrames.forEach(({ canvas, size }) => { canvas.parentElement.style.flex = `${size[0]} 1 0`; });
    for (const [axis, slider] of Object.entries(this.sliders)) {
      const number = AXES[axis];
      slider.min = grid.origin[number];
      slider.max = grid.origin[number] + grid.step * (grid.shape[number] - 1);
      slider.step = grid.step;
      slider.addEventListener("input", () => {
        place.mm[number] = Number(slider.value);
        moveAll();
      });
    }
  }

  listen(canvas, axis) {
    const frame = this.frames[axis];
    const go = (event) => {
      [place.mm[frame.across], place.mm[frame.up]] = frame.toMm(event);
      this.inGrid();
      moveAll();
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      canvas.focus({ preventScroll: true });
      go(event);
    });
    canvas.addEventListener("pointermove", (event) => { if (event.buttons) go(event); });
    // The page scrolls as always until a picture is chosen.
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas) return;
      event.preventDefault();
      this.step(AXES[axis], event.deltaY < 0 ? 1 : -1);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const steps = STEPS[event.key];
      if (!steps || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      const axes = [frame.across, frame.up, AXES[axis]];
      steps.forEach((one, index) => { if (one) this.step(axes[index], one); });
    });
  }

  step(axis, direction) {
    place.mm[axis] += direction * this.scene.grid.step;
    this.inGrid();
    moveAll();
  }

  // Positions are centres of voxels.
  inGrid() {
    const { grid } = this.scene;
    place.mm = place.mm.map((one, axis) => grid.origin[axis] + grid.step * indexIn(grid, axis, one));
  }

  async show(component, isFirst) {
    this.component = component;
    this.volume = null;
    this.tell();
    const hasMap = canDraw && component.values !== undefined;
    this.find("maps").hidden = !hasMap;
    if (!hasMap) return;
    const { volume, vertices } = await valuesOf(component);
    if (!this.frames || this.component !== component) return;
    this.volume = volume;
    this.cortex?.show(component, vertices, isFirst);
    if (isFirst && this.scene.grid) {
      // The peak of a map of the cortex may be a vertex.
      place.mm = this.cortex ? strongestPlace(this.scene.grid, volume) : component.peak.slice();
      this.inGrid();
    }
    this.draw();
    redrawAll();
  }

  redraw() {
    this.drawSlices();
    if (this.volume) this.cortex?.draw();
  }

  draw() {
    if (!this.volume) return;
    this.redraw();
    this.glassFrames.forEach((frame, index) => drawGlass(frame, this.scene, ...GLASS[index], this.component, this.volume));
    drawBar(this.find("bar"), this.component);
    const { window } = this.component;
    this.find("bar-low").textContent = (-window).toFixed(1);
    this.find("bar-high").textContent = window.toFixed(1);
    this.find("nothing").hidden = this.component.low !== null || this.component.high !== null;
  }

  drawSlices() {
    if (!this.volume || !this.scene.grid) return;
    for (const [axis, frame] of Object.entries(this.frames)) {
      drawSlice(frame, this.scene, axis, this.component, this.volume, place.mm, place.shown);
      const at = `${Math.round(place.mm[AXES[axis]])} mm`;
      this.sliders[axis].value = place.mm[AXES[axis]];
      this.sliders[axis].setAttribute("aria-valuetext", at);
      this.root.querySelector(`output[data-axis=${axis}]`).textContent = `${axis} ${at}`;
    }
    const value = valueAt(this.component, this.volume, this.scene.grid, place.mm);
    const where = place.mm.map((one, index) => `${"xyz"[index]} ${Math.round(one)}`).join(", ");
    this.find("told").textContent = `${where} mm: ${value.toFixed(2)}`;
  }

  // Names, plots and numbers.
  tell() {
    const { component } = this;
    const { components: all, title } = component.decomposition;
    this.find("title").textContent = component.name;
    this.find("of").textContent = `${component.index + 1} of ${all.length} · ${title}`;
    const named = this.find("named");
    named.textContent = component.label ? (component.isSure ? component.label : `similar to ${component.label}`) : "";
    named.classList.toggle("sure", component.isSure);
    this.tellKeyFacts();
    const hasSpectrum = component.power.length > 0;
    this.find("spectrum").hidden = !hasSpectrum;
    if (hasSpectrum) {
      drawSpectrum(this.find("spectrum").querySelector("svg"), component);
      const nRuns = component.decomposition.nRuns;
      this.find("n-runs").textContent = nRuns === 1 ? "1 run" : `${nRuns} runs`;
    }
    const fits = component.fits;
    const hasFits = fits && fits[0].some((one) => one !== null);
    this.find("participants").hidden = !hasFits;
    if (hasFits) {
      const plots = this.find("participants").querySelectorAll("svg");
      drawParticipants(plots[0], component, 0, "r of their own map with the group's");
      plots[1].toggleAttribute("hidden", !fits[1].some((one) => one !== null));
      if (fits[1].some((one) => one !== null)) drawParticipants(plots[1], component, 1, "amplitude (sd of the time course)");
      this.find("extremes").textContent = extremes(component);
    }
    const hasPartners = component.decomposition.connectome !== null && component.decomposition.components.length > 1;
    this.find("partners").hidden = !hasPartners;
    if (hasPartners) {
      const { kinds } = component.decomposition.connectome;
      this.find("partner-list").replaceChildren(...partnerRows(component));
      this.find("partner-words").textContent = kinds.map(({ words }, index) => (index ? `in brackets ${words}` : words)).join(", ");
    }
    this.find("facts").replaceChildren(...component.facts.map(([question, answers]) => {
      const list = element("dl");
      for (const [name, value] of answers) list.append(element("dt", {}, name), element("dd", {}, value));
      return element("details", {}, element("summary", {}, question), list);
    }));
  }

  tellKeyFacts() {
    const { component } = this;
    const fact = (name, value, more, isBad) =>
      element("div", isBad ? { class: "bad" } : {}, element("dt", {}, name), element("dd", {}, element("b", {}, value), ` ${more}`));
    const facts = [];
    if (component.reproducibility !== null) {
      const chance = component.chance === null ? "" : `chance level ${rounded(component.chance)}`;
      facts.push(fact("Would others find it again?", rounded(component.reproducibility),
        component.isAtChance ? `|r| between halves: no better than chance (${rounded(component.chance)})` : `|r| between halves of the participants; ${chance}`, component.isAtChance));
    }
    if (component.labelR !== null) {
      facts.push(fact("What is it?", `r ${rounded(component.labelR)}`,
        component.label ? `with ${component.label}`
          : `with the most similar network, ${component.isAtChance ? "but at chance and therefore not named" : "which is not enough for a name"}`));
    }
    if (component.reproducibility !== null || component.flags.length) {
      facts.push(fact("Is it noise?", component.flags.length ? `⚑ ${component.flags.join(", ")}` : "no flags",
        component.reasons, component.flags.length > 0));
    }
    this.find("key-facts").replaceChildren(...facts);
    this.find("key-facts").hidden = facts.length === 0;
  }
}
