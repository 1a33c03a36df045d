"use strict";
// What the page holds, and what all of its parts share: the component that is chosen, the place that
// slices go through, and how values below the threshold are shown.
const data = JSON.parse(document.getElementById("ui-data").textContent);
const byId = (id) => document.getElementById(id);
const components = new Map();
for (const decomposition of data.decompositions) {
  decomposition.components.forEach((component, index) => {
    components.set(component.id, { ...component, decomposition, index });
  });
}
const partners = new Map();
for (const [first, second, r] of data.matches) {
  for (const [one, other] of [[first, second], [second, first]]) {
    if (!partners.has(one)) partners.set(one, []);
    partners.get(one).push({ component: components.get(other), r });
  }
}

const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};
const rounded = (value, digits = 2) => (value === null ? "unknown" : value.toFixed(digits));

// Bytes are base64 of what zlib made of the differences of neighbours.
const inflated = async (text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
};
const unpacked = async (text) => {
  const values = await inflated(text);
  for (let i = 1; i < values.length; i += 1) values[i] += values[i - 1];
  return values;
};
// Numbers of two bytes have the low bytes of all differences first; 0, -1, 1, -2 are 0, 1, 2, 3.
const unpackedNumbers = async (text) => {
  const bytes = await inflated(text);
  const values = new Uint16Array(bytes.length / 2);
  for (let i = 0, last = 0; i < values.length; i += 1) {
    const folded = bytes[i] | (bytes[values.length + i] << 8);
    last += (folded >> 1) ^ -(folded & 1);
    values[i] = last;
  }
  return values;
};

// The template, the mask and the meshes are unpacked once, maps when they are asked for; the last few are kept.
const canDraw = data.scene !== null && typeof DecompressionStream === "function";
const stage = canDraw
  ? (async () => {
      // What is declared further down is known once the whole script has run.
      await null;
      const { grid, inside, template, outside, cortex = [] } = data.scene;
      const starts = cortex.map((_, index) => cortex.slice(0, index).reduce((sum, { n }) => sum + n, 0));
      const scene = {
        grid,
        inside: grid ? await unpacked(inside) : new Uint8Array(0),
        template: template ? { ...template, values: await unpacked(template.values) } : null,
        meshes: await Promise.all(cortex.map((one, index) => meshOf(one, starts[index]))),
      };
      if (outside) darken(scene, outside);
      return scene;
    })()
  : null;
// Values of vertices come first, then those of voxels.
const volumes = new Map();
const valuesOf = async (component) => {
  if (volumes.has(component.id)) return volumes.get(component.id);
  const [{ inside, meshes }, packed] = await Promise.all([stage, unpacked(component.values)]);
  const steps = new Int8Array(packed.buffer);
  const nVertices = meshes.reduce((sum, { n }) => sum + n, 0);
  const volume = new Int8Array(inside.length);
  for (let i = 0, next = nVertices; i < inside.length; i += 1) {
    if (inside[i]) {
      volume[i] = steps[next];
      next += 1;
    }
  }
  const values = { volume, vertices: steps.subarray(0, nVertices) };
  volumes.set(component.id, values);
  if (volumes.size > 8) volumes.delete(volumes.keys().next().value);
  return values;
};
