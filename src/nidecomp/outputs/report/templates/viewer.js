"use strict";
// The slices of one component at a time, shown by brainsprite; a slider for each axis serves the
// keyboard and readers of the screen as the mouse on the picture does others.
(() => {
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const find = (name) => document.getElementById(`viewer-${name}`);
  const dialog = document.getElementById("viewer");
  const [frame, choice, told, opacity] = ["frame", "component", "told", "opacity"].map(find);
  const sliders = { X: find("x"), Y: find("y"), Z: find("z") };
  let brain = null;

  // brainsprite reads values back from its canvases, which browsers warn of unless they are told.
  const context = HTMLCanvasElement.prototype.getContext;
  HTMLCanvasElement.prototype.getContext = function (kind) {
    return context.call(this, kind, { willReadFrequently: true });
  };

  const picture = async (name, source) => {
    const image = new Image();
    image.id = `viewer-${name}`;
    image.hidden = true;
    image.alt = "";
    image.src = source;
    await image.decode();
    frame.append(image);
    return image;
  };

  const tell = () => {
    const { X, Y, Z } = brain.coordinatesSlice;
    const value = Number.isNaN(brain.voxelValue) ? "nothing" : brain.voxelValue.toFixed(1);
    told.textContent = `x ${Math.round(X)}, y ${Math.round(Y)}, z ${Math.round(Z)} mm: ${value}`;
    for (const [axis, slider] of Object.entries(sliders)) {
      slider.value = brain.numSlice[axis];
      slider.setAttribute("aria-valuetext", `${Math.round(brain.coordinatesSlice[axis])} mm`);
    }
  };
  const redraw = () => {
    brain.init();
    brain.drawAll();
    tell();
  };

  const begin = async (one) => {
    await picture("background", data.background);
    await picture("colours", data.colours);
    const overlay = await picture("slices", one.slices);
    brain = brainsprite({
      canvas: "viewer-canvas",
      sprite: "viewer-background",
      nbSlice: data.shape,
      overlay: { sprite: "viewer-slices", nbSlice: data.shape, opacity: 1 },
      colorMap: { img: "viewer-colours", min: -one.limit, max: one.limit },
      affine: data.affine,
      numSlice: { ...one.peak },
      crosshair: true,
      colorCrosshair: "#ffcc00",
      flagCoordinates: true,
      nbDecimals: 1,
      onclick: tell,
    });
    overlay.addEventListener("load", tell);
    tell();
  };

  const show = async (key) => {
    const one = data.components[key];
    choice.value = key;
    if (!dialog.open) dialog.showModal();
    if (brain === null) return begin(one);
    brain.colorMap.min = -one.limit;
    brain.colorMap.max = one.limit;
    brain.numSlice = { ...one.peak };
    // brainsprite draws anew when it is there.
    find("slices").src = one.slices;
  };

  for (const [key, one] of Object.entries(data.components)) {
    choice.append(new Option(one.title, key));
  }
  for (const [axis, slider] of Object.entries(sliders)) {
    slider.max = data.shape[axis] - 1;
    slider.addEventListener("input", () => {
      brain.numSlice[axis] = Number(slider.value);
      redraw();
    });
  }
  opacity.addEventListener("input", () => {
    brain.overlay.opacity = Number(opacity.value) / 100;
    redraw();
  });
  find("close").addEventListener("click", () => dialog.close());
  choice.addEventListener("change", () => show(choice.value));
  for (const button of document.querySelectorAll("button.view")) {
    button.hidden = false;
    button.addEventListener("click", () => show(button.dataset.key));
  }
})();
