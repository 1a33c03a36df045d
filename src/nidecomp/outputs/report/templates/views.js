"use strict";
// Slices and glass brains on canvases. Positions are in mm, RAS+; volumes have x fastest.
const AXES = { x: 0, y: 1, z: 2 };
const PLANES = { x: [1, 2], y: [0, 2], z: [0, 1] };
const [LINE, CROSS] = ["#969ca4", "#3ddc84"];
const HALF = 127;

const indexIn = (grid, axis, mm) => {
  const found = Math.round((mm - grid.origin[axis]) / grid.step);
  return Math.min(Math.max(found, 0), grid.shape[axis] - 1);
};
const valueAt = (component, volume, grid, mm) => {
  const [x, y, z] = mm.map((one, axis) => indexIn(grid, axis, one));
  return (volume[x + grid.shape[0] * (y + grid.shape[1] * z)] * component.limit) / HALF;
};

// The place of the largest value; that of the first voxel where all are 0.
const strongestPlace = (grid, volume) => {
  let best = 0;
  for (let i = 0; i < volume.length; i += 1) if (Math.abs(volume[i]) > Math.abs(volume[best])) best = i;
  const [nX, nY] = grid.shape;
  return [best % nX, Math.floor(best / nX) % nY, Math.floor(best / (nX * nY))].map((one, axis) => grid.origin[axis] + grid.step * one);
};
// The template is darker beside the voxels that maps have.
const darken = ({ grid, inside, template }, share) => {
  const [nX, nY, nZ] = template.shape;
  const [sX, sY] = grid.shape;
  const beyond = (axis, index) => Math.round((template.origin[axis] + template.step * index - grid.origin[axis]) / grid.step);
  for (let z = 0, i = 0; z < nZ; z += 1) {
    for (let y = 0; y < nY; y += 1) {
      for (let x = 0; x < nX; x += 1, i += 1) {
        const at = [x, y, z].map((one, axis) => beyond(axis, one));
        const isIn = at.every((one, axis) => one >= 0 && one < grid.shape[axis]) && inside[at[0] + sX * (at[1] + sY * at[2])];
        if (!isIn) template.values[i] *= share;
      }
    }
  }
};

// The colour of each step of a map, with its opacity: as colours.py has it.
const paletteOf = (component, shown) => {
  const { limit, window, low, high } = component;
  const table = new Uint8ClampedArray(4 * 256);
  for (let step = -HALF; step <= HALF; step += 1) {
    const value = (step * limit) / HALF;
    const place = Math.round(Math.min(Math.max(value / window, -1), 1) * HALF) + HALF;
    const isKept = step !== 0 && ((high !== null && value >= high) || (low !== null && value <= low));
    const border = (value > 0 ? high : low === null ? null : -low) || window;
    const share = Math.min(Math.abs(value) / border, 1);
    const faint = { faint: 0.6 * share ** 2, kept: 0, all: step === 0 ? 0 : 1 }[shown];
    const [red, green, blue] = data.colours[place];
    table.set([red, green, blue, 255 * (isKept ? 1 : faint)], 4 * (step & 255));
  }
  return table;
};

// A plane of pixels: `pick(across, up)` gives the place in the palette.
const picture = (width, height, palette, pick) => {
  const image = new ImageData(width, height);
  const target = new Uint32Array(image.data.buffer);
  const colours = new Uint32Array(palette.buffer);
  for (let up = 0; up < height; up += 1) {
    for (let across = 0; across < width; across += 1) {
      target[(height - 1 - up) * width + across] = colours[pick(across, up) & 255];
    }
  }
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
};
const GREYS = new Uint8ClampedArray(4 * 256);
for (let shade = 0; shade < 256; shade += 1) GREYS.set([shade, shade, shade, 255], 4 * shade);

const slice = (grid, values, palette, axis, mm) => {
  const strides = [1, grid.shape[0], grid.shape[0] * grid.shape[1]];
  const [across, up] = PLANES[axis];
  const first = indexIn(grid, AXES[axis], mm) * strides[AXES[axis]];
  return picture(grid.shape[across], grid.shape[up], palette, (i, j) =>
    values[first + i * strides[across] + j * strides[up]]);
};

// The value of the largest size along an axis, of voxels with x in a range.
const projection = (grid, volume, palette, axis, from, to) => {
  const [n_x, n_y, n_z] = grid.shape;
  const [across, up] = PLANES[axis];
  const width = grid.shape[across];
  const best = new Int8Array(width * grid.shape[up]);
  for (let z = 0, i = 0; z < n_z; z += 1) {
    for (let y = 0; y < n_y; y += 1) {
      for (let x = 0; x < n_x; x += 1, i += 1) {
        const value = volume[i];
        if (value === 0 || x < from || x > to || palette[4 * (value & 255) + 3] < 255) continue;
        const at = (axis === "x" ? y : x) + width * (axis === "z" ? y : z);
        if (Math.abs(value) > Math.abs(best[at])) best[at] = value;
      }
    }
  }
  return picture(width, grid.shape[up], palette, (i, j) => best[j * width + i]);
};

// A canvas on which positions in mm are drawn; `mirrored` has the front on the left.
class Frame {
  constructor(canvas, grid, axis, isMirrored = false) {
    [this.across, this.up] = PLANES[axis];
    this.canvas = canvas;
    this.grid = grid;
    this.isMirrored = isMirrored;
    this.size = [this.across, this.up].map((one) => grid.shape[one] * grid.step);
    this.lowest = [this.across, this.up].map((one) => grid.origin[one] - grid.step / 2);
    canvas.style.aspectRatio = `${this.size[0]} / ${this.size[1]}`;
  }

  begin() {
    const width = Math.max(60, Math.round(this.canvas.clientWidth * (window.devicePixelRatio || 1)));
    this.scale = width / this.size[0];
    this.canvas.width = width;
    this.canvas.height = Math.round(this.size[1] * this.scale);
    this.pen = this.canvas.getContext("2d");
    this.pen.fillStyle = "#000";
    this.pen.fillRect(0, 0, width, this.canvas.height);
    this.pen.imageSmoothingQuality = "high";
    if (this.isMirrored) this.pen.setTransform(-1, 0, 0, 1, width, 0);
  }

  toPixels(mm) {
    return [
      (mm[0] - this.lowest[0]) * this.scale,
      this.canvas.height - (mm[1] - this.lowest[1]) * this.scale,
    ];
  }

  toMm(event) {
    const box = this.canvas.getBoundingClientRect();
    const across = (event.clientX - box.left) / box.width;
    const up = 1 - (event.clientY - box.top) / box.height;
    return [this.lowest[0] + across * this.size[0], this.lowest[1] + up * this.size[1]];
  }

  paint(image, grid) {
    const corner = [this.across, this.up].map((one) => grid.origin[one] - grid.step / 2);
    const extent = [this.across, this.up].map((one) => grid.shape[one] * grid.step);
    const [left, top] = this.toPixels([corner[0], corner[1] + extent[1]]);
    this.pen.drawImage(image, left, top, extent[0] * this.scale, extent[1] * this.scale);
  }

  word(text) {
    this.pen.setTransform(1, 0, 0, 1, 0, 0);
    this.pen.fillStyle = "#c4c9cf";
    this.pen.font = `${Math.round(11 * (window.devicePixelRatio || 1))}px sans-serif`;
    this.pen.fillText(text, 5, 14 * (window.devicePixelRatio || 1));
  }
}

// Without a template, the mask is the ground that maps stand on.
const groundOf = ({ grid, inside, template }) =>
  template
    ? { grid: template, values: template.values, palette: GREYS }
    : { grid, values: inside, palette: Uint8ClampedArray.from({ length: 1024 }, (_, i) =>
        i % 4 === 3 ? 255 : i === 4 || i === 5 || i === 6 ? 70 : 0) };

const drawSlice = (frame, scene, axis, component, volume, mm, shown) => {
  const ground = groundOf(scene);
  frame.begin();
  frame.paint(slice(ground.grid, ground.values, ground.palette, axis, mm[AXES[axis]]), ground.grid);
  const palette = paletteOf(component, shown);
  frame.paint(slice(scene.grid, volume, palette, axis, mm[AXES[axis]]), scene.grid);
  const [left, top] = frame.toPixels([mm[frame.across], mm[frame.up]]);
  frame.pen.strokeStyle = CROSS;
  frame.pen.globalAlpha = 0.7;
  frame.pen.beginPath();
  frame.pen.moveTo(left, 0);
  frame.pen.lineTo(left, frame.canvas.height);
  frame.pen.moveTo(0, top);
  frame.pen.lineTo(frame.canvas.width, top);
  frame.pen.stroke();
  frame.pen.globalAlpha = 1;
  if (axis !== "x") frame.word("L");
};

const drawGlass = (frame, scene, axis, side, component, volume) => {
  const palette = paletteOf(component, "kept");
  const middle = indexIn(scene.grid, 0, 0);
  const [from, to] = side < 0 ? [0, middle] : side > 0 ? [middle, Infinity] : [0, Infinity];
  frame.begin();
  const lines = data.scene.lines;
  if (!lines) {
    const flat = Int8Array.from(scene.inside);
    const dim = new Uint8ClampedArray(1024);
    dim.set([46, 46, 46, 255], 4);
    frame.paint(projection(scene.grid, flat, dim, axis, 0, Infinity), scene.grid);
  }
  frame.paint(projection(scene.grid, volume, palette, axis, from, to), scene.grid);
  frame.pen.strokeStyle = LINE;
  frame.pen.lineWidth = Math.max(1, frame.scale * 0.5);
  frame.pen.beginPath();
  for (const line of lines ? lines[axis] : []) {
    line.forEach(([across, up], index) => {
      const [left, top] = frame.toPixels([across / 10, up / 10]);
      if (index) frame.pen.lineTo(left, top);
      else frame.pen.moveTo(left, top);
    });
  }
  frame.pen.stroke();
  if (side === 0) frame.word("L");
};

const drawBar = (canvas, component) => {
  const pen = canvas.getContext("2d");
  canvas.width = 255;
  canvas.height = 12;
  data.colours.forEach(([red, green, blue], index) => {
    pen.fillStyle = `rgb(${red} ${green} ${blue})`;
    pen.fillRect(index, 0, 1, 12);
  });
  pen.fillStyle = "#fff";
  for (const limit of [component.low, component.high]) {
    if (limit) pen.fillRect(HALF + (limit / component.window) * HALF - 1, 0, 3, 12);
  }
};
