"use strict";
// The cortex of both hemispheres on canvases. Triangles are drawn by the processor: it takes a few
// milliseconds, works in every browser that shows canvases, and says which triangle a click met.
const FINE = 2; // Pixels of a canvas for each of the page's: their mean smooths edges.
const SIDES = { lateral: [0, 0], medial: [180, 0], front: [90, 0], back: [-90, 0], top: [0, 90], bottom: [0, -90] };
const [AMBIENT, ABOVE] = [0.5, 0.28]; // The light, as surface_views.py has it.
const WALL = [116, 128, 150];
const TURNS = { ArrowLeft: [-15, 0], ArrowRight: [15, 0], ArrowUp: [0, -15], ArrowDown: [0, 15] };
const RING_MM = 4;
Object.assign(place, { turn: SIDES.lateral, vertex: null, isTurning: false });

const shadedNormals = (xyz, faces, n) => {
  const normals = new Float32Array(3 * n);
  const nFaces = faces.length / 3;
  for (let f = 0; f < nFaces; f += 1) {
    const [i, j, k] = [faces[f], faces[nFaces + f], faces[2 * nFaces + f]];
    const [ux, uy, uz] = [xyz[j] - xyz[i], xyz[n + j] - xyz[n + i], xyz[2 * n + j] - xyz[2 * n + i]];
    const [vx, vy, vz] = [xyz[k] - xyz[i], xyz[n + k] - xyz[n + i], xyz[2 * n + k] - xyz[2 * n + i]];
    for (const one of [i, j, k]) {
      normals[one] += uy * vz - uz * vy;
      normals[n + one] += uz * vx - ux * vz;
      normals[2 * n + one] += ux * vy - uy * vx;
    }
  }
  for (let i = 0; i < n; i += 1) {
    const length = Math.hypot(normals[i], normals[n + i], normals[2 * n + i]) || 1;
    for (let axis = 0; axis < 3; axis += 1) normals[axis * n + i] /= length;
  }
  return normals;
};

// Coordinates have all x, then all y, then all z.
const coordinatesOf = async ({ lowest, step, values }, n) => {
  const steps = await unpackedNumbers(values);
  return Float32Array.from(steps, (one, i) => lowest[Math.floor(i / n)] + step * one);
};
const meshOf = async (packed, first) => {
  const { n, hemi, isOwn } = packed;
  const [faces, xyz, anatomy, shades, wall] = await Promise.all([
    unpackedNumbers(packed.faces), coordinatesOf(packed.inflated, n), coordinatesOf(packed.anatomy, n),
    unpacked(packed.shades), unpacked(packed.wall),
  ]);
  // Half of its size along each axis, around its middle.
  const half = [0, 1, 2].map((axis) => {
    const along = xyz.subarray(axis * n, (axis + 1) * n);
    const [low, high] = along.reduce(([a, b], one) => [Math.min(a, one), Math.max(b, one)], [Infinity, -Infinity]);
    for (let i = 0; i < n; i += 1) along[i] -= (low + high) / 2;
    return (high - low) / 2;
  });
  return { hemi, n, isOwn, first, faces, xyz, anatomy, shades, wall, half, normals: shadedNormals(xyz, faces, n) };
};

// Right, up and towards the viewer. Azimuth 0 is lateral, 90 the front; hemispheres mirror each other.
const axesOf = (hemi, [azimuth, elevation]) => {
  const [a, e] = [azimuth, elevation].map((one) => (one * Math.PI) / 180);
  const side = hemi === "L" ? -1 : 1;
  const toward = [side * Math.cos(a) * Math.cos(e), Math.sin(a) * Math.cos(e), Math.sin(e)];
  const right = [-Math.sin(a), side * Math.cos(a), 0];
  const up = [
    toward[1] * right[2] - toward[2] * right[1],
    toward[2] * right[0] - toward[0] * right[2],
    toward[0] * right[1] - toward[1] * right[0],
  ];
  return [right, up, toward];
};
const alongAxis = (values, n, [x, y, z], scale, start) => {
  const found = new Float32Array(n);
  for (let i = 0; i < n; i += 1) found[i] = start + scale * (values[i] * x + values[n + i] * y + values[2 * n + i] * z);
  return found;
};

// The triangle that each pixel of a view shows, -1 where none, and how much its second and third corner count.
const look = (mesh, turn, width, height) => {
  const { n, faces, xyz, normals, half } = mesh;
  const [right, up, toward] = axesOf(mesh.hemi, turn);
  // An ellipsoid of its size is fitted in, so that its size changes smoothly when it is turned.
  const reach = (axis) => Math.hypot(...axis.map((one, index) => one * half[index]));
  const scale = 0.47 * Math.min(width / reach(right), height / reach(up));
  const x = alongAxis(xyz, n, right, scale, (width - 1) / 2);
  const y = alongAxis(xyz, n, up, -scale, (height - 1) / 2);
  const z = alongAxis(xyz, n, toward, 1, 0);
  const lamp = toward.map((one, axis) => (one + ABOVE * up[axis]) / Math.hypot(1, ABOVE));
  const light = alongAxis(normals, n, lamp, 1 - AMBIENT, 0).map((one) => AMBIENT + Math.max(one, 0));
  const face = new Int32Array(width * height).fill(-1);
  const [second, third, depth] = [0, 1, 2].map(() => new Float32Array(width * height));
  const nFaces = faces.length / 3;
  for (let f = 0; f < nFaces; f += 1) {
    // No arrays in here: these lines run for each triangle and pixel.
    const i = faces[f];
    const j = faces[nFaces + f];
    const k = faces[2 * nFaces + f];
    const x0 = x[i];
    const y0 = y[i];
    const ux = x[j] - x0;
    const uy = y[j] - y0;
    const vx = x[k] - x0;
    const vy = y[k] - y0;
    // Down the canvas, triangles that face the viewer turn the other way.
    const doubled = ux * vy - uy * vx;
    if (doubled >= 0) continue;
    const left = Math.max(Math.ceil(x0 + Math.min(0, ux, vx)), 0);
    const top = Math.max(Math.ceil(y0 + Math.min(0, uy, vy)), 0);
    const last = Math.min(Math.floor(x0 + Math.max(0, ux, vx)), width - 1);
    const bottom = Math.min(Math.floor(y0 + Math.max(0, uy, vy)), height - 1);
    for (let row = top; row <= bottom; row += 1) {
      for (let column = left; column <= last; column += 1) {
        const dx = column - x0;
        const dy = row - y0;
        const b = (dx * vy - dy * vx) / doubled;
        const c = (ux * dy - uy * dx) / doubled;
        if (b < 0 || c < 0 || b + c > 1) continue;
        const at = row * width + column;
        const near = z[i] + b * (z[j] - z[i]) + c * (z[k] - z[i]);
        if (face[at] >= 0 && depth[at] >= near) continue;
        face[at] = f;
        depth[at] = near;
        second[at] = b;
        third[at] = c;
      }
    }
  }
  return { width, height, face, second, third, depth, light, x, y, z };
};
// Panels side by side show the same: the last views are kept.
const looks = new Map();
const looked = (mesh, turn, width, height) => {
  const key = [mesh.hemi, ...turn, width, height].join();
  const found = looks.get(key) ?? look(mesh, turn, width, height);
  looks.delete(key);
  looks.set(key, found);
  if (looks.size > 16) looks.delete(looks.keys().next().value);
  return found;
};

const paintCortex = (pen, mesh, seen, values, palette) => {
  const { width, height, face, second, third, light } = seen;
  const { faces, shades, wall } = mesh;
  const nFaces = faces.length / 3;
  const image = new ImageData(width, height);
  const target = new Uint32Array(image.data.buffer);
  for (let at = 0; at < face.length; at += 1) {
    const f = face[at];
    if (f < 0) continue;
    const i = faces[f];
    const j = faces[nFaces + f];
    const k = faces[2 * nFaces + f];
    const b = second[at];
    const c = third[at];
    const a = 1 - b - c;
    const bright = a * light[i] + b * light[j] + c * light[k];
    const step = 4 * (Math.round(a * values[i] + b * values[j] + c * values[k]) & 255);
    const opacity = palette[step + 3] / 255;
    const isWall = a * wall[i] + b * wall[j] + c * wall[k] > 0.5;
    const shade = a * shades[i] + b * shades[j] + c * shades[k];
    const red = isWall ? WALL[0] : shade;
    const green = isWall ? WALL[1] : shade;
    const blue = isWall ? WALL[2] : shade;
    target[at] = 0xff000000 |
      ((bright * (blue + opacity * (palette[step + 2] - blue))) << 16) |
      ((bright * (green + opacity * (palette[step + 1] - green))) << 8) |
      (bright * (red + opacity * (palette[step] - red)));
  }
  pen.putImageData(image, 0, 0);
};

// A ring around the vertex that was chosen, where it can be seen.
const markVertex = (pen, seen, index) => {
  const { x, y, z, width, face, depth } = seen;
  const at = Math.round(y[index]) * width + Math.round(x[index]);
  if (face[at] === undefined || face[at] < 0 || depth[at] > z[index] + RING_MM) return;
  pen.strokeStyle = CROSS;
  pen.lineWidth = Math.max(2, width / 220);
  pen.beginPath();
  pen.arc(x[index], y[index], Math.max(5, width / 70), 0, 2 * Math.PI);
  pen.stroke();
};

// Left and right hemisphere, turned together, and both from their sides.
class Cortex {
  constructor(root) {
    this.root = root;
    this.told = root.querySelector(".told-vertex");
    this.canvases = [...root.querySelectorAll("canvas[data-hemi]")];
  }

  begin(meshes) {
    this.meshes = meshes;
    for (const canvas of this.canvases) {
      canvas.parentElement.hidden = this.meshFor(canvas) === undefined;
      canvas.style.aspectRatio = "10 / 7";
      this.listen(canvas);
    }
    for (const button of this.root.querySelectorAll("button[data-turn]")) {
      button.addEventListener("click", () => {
        const { turn } = button.dataset;
        if (turn === "peak") this.goToPeak();
        else place.turn = SIDES[turn];
        turnAll();
      });
    }
  }

  meshFor(canvas) {
    return this.meshes.find(({ hemi }) => hemi === canvas.dataset.hemi);
  }

  valuesOf(mesh) {
    return this.values.subarray(mesh.first, mesh.first + mesh.n);
  }

  show(component, values, isFirst) {
    Object.assign(this, { component, values });
    if (isFirst) place.vertex = this.peak();
  }

  // The vertex of the largest value; one of the left hemisphere where all are 0.
  peak() {
    let best = { hemi: this.meshes[0].hemi, index: 0, size: -1 };
    for (const mesh of this.meshes) {
      this.valuesOf(mesh).forEach((value, index) => {
        if (Math.abs(value) > best.size) best = { hemi: mesh.hemi, index, size: Math.abs(value) };
      });
    }
    return best;
  }

  goToPeak() {
    place.vertex = this.peak();
    const { hemi, index } = place.vertex;
    const { normals, n } = this.meshes.find((mesh) => mesh.hemi === hemi);
    const [x, y, z] = [normals[index], normals[n + index], normals[2 * n + index]];
    const side = hemi === "L" ? -1 : 1;
    place.turn = [Math.atan2(y, side * x), Math.asin(Math.max(-1, Math.min(1, z)))].map((one) => Math.round((one * 180) / Math.PI));
  }

  listen(canvas) {
    const { hemi, side } = canvas.dataset;
    let from = null;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      canvas.focus({ preventScroll: true });
      from = { x: event.clientX, y: event.clientY, turn: place.turn, isDrag: false };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!from || !event.buttons || side) return;
      const [across, down] = [event.clientX - from.x, event.clientY - from.y];
      from.isDrag ||= Math.hypot(across, down) > 4;
      if (!from.isDrag) return;
      const degrees = 180 / canvas.clientWidth;
      place.isTurning = true;
      turnTo(from.turn[0] + (hemi === "L" ? across : -across) * degrees, from.turn[1] + down * degrees);
    });
    const end = (event) => {
      if (from && !from.isDrag && event.type === "pointerup") this.pick(canvas, event);
      from = null;
      if (place.isTurning) {
        place.isTurning = false;
        turnAll();
      }
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener("keydown", (event) => {
      const turn = TURNS[event.key];
      if (!turn || side || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      turnTo(place.turn[0] + (hemi === "L" ? turn[0] : -turn[0]), place.turn[1] + turn[1]);
    });
  }

  // The vertex that is nearest to a click on the brain.
  pick(canvas, event) {
    const box = canvas.getBoundingClientRect();
    const mesh = this.meshFor(canvas);
    const seen = this.seenOn(canvas, FINE);
    const column = Math.floor(((event.clientX - box.left) / box.width) * seen.width);
    const row = Math.floor(((event.clientY - box.top) / box.height) * seen.height);
    const at = row * seen.width + column;
    const face = seen.face[at];
    if (!(face >= 0)) return;
    const [b, c] = [seen.second[at], seen.third[at]];
    const shares = [1 - b - c, b, c];
    const corner = shares.indexOf(Math.max(...shares));
    place.vertex = { hemi: mesh.hemi, index: mesh.faces[corner * (mesh.faces.length / 3) + face] };
    turnAll();
  }

  seenOn(canvas, fine) {
    const turn = canvas.dataset.side ? SIDES[canvas.dataset.side] : place.turn;
    const width = Math.max(40, Math.round(canvas.clientWidth * fine));
    const height = Math.max(30, Math.round(canvas.clientHeight * fine));
    return looked(this.meshFor(canvas), turn, width, height);
  }

  // While it is turned, only the views that turn are drawn, on coarser pixels.
  draw() {
    if (!this.values || !this.root.clientWidth) return;
    const palette = paletteOf(this.component, place.shown);
    for (const canvas of this.canvases) {
      const mesh = this.meshFor(canvas);
      if (!mesh || (place.isTurning && canvas.dataset.side)) continue;
      const seen = this.seenOn(canvas, place.isTurning ? 1 : FINE);
      [canvas.width, canvas.height] = [seen.width, seen.height];
      const pen = canvas.getContext("2d");
      paintCortex(pen, mesh, seen, this.valuesOf(mesh), palette);
      if (place.vertex?.hemi === mesh.hemi) markVertex(pen, seen, place.vertex.index);
    }
    this.tell();
  }

  tell() {
    const { hemi, index } = place.vertex;
    const mesh = this.meshes.find((one) => one.hemi === hemi);
    const value = (this.valuesOf(mesh)[index] * this.component.limit) / HALF;
    const where = [0, 1, 2].map((axis) => `${"xyz"[axis]} ${Math.round(mesh.anatomy[axis * mesh.n + index])}`).join(", ");
    const vertex = mesh.isOwn ? `, vertex ${index}` : "";
    const on = mesh.wall[index] ? "medial wall" : "cortex";
    this.told.textContent = `${hemi === "L" ? "Left" : "Right"} ${on}${vertex}: ${where} mm: ${value.toFixed(2)}`;
  }
}

// All panels turn together; several events before a picture is drawn are one.
let isAsked = false;
const turnAll = () => {
  if (isAsked) return;
  isAsked = true;
  requestAnimationFrame(() => {
    isAsked = false;
    panels.forEach((panel) => panel.cortex?.draw());
  });
};
const turnTo = (azimuth, elevation) => {
  place.turn = [((((azimuth + 180) % 360) + 360) % 360) - 180, Math.min(Math.max(elevation, -90), 90)];
  turnAll();
};
