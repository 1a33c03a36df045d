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
const unpacked = async (text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const values = new Uint8Array(await new Response(stream).arrayBuffer());
  for (let i = 1; i < values.length; i += 1) values[i] += values[i - 1];
  return values;
};

// The template and the mask are unpacked once, maps when they are asked for; the last few are kept.
const canDraw = data.scene !== null && typeof DecompressionStream === "function";
const stage = canDraw
  ? (async () => {
      const { grid, template } = data.scene;
      return {
        grid,
        inside: await unpacked(data.scene.inside),
        template: template ? { ...template, values: await unpacked(template.values) } : null,
      };
    })()
  : null;
const volumes = new Map();
const volumeOf = async (component) => {
  if (volumes.has(component.id)) return volumes.get(component.id);
  const [{ inside }, packed] = await Promise.all([stage, unpacked(component.values)]);
  const steps = new Int8Array(packed.buffer);
  const volume = new Int8Array(inside.length);
  for (let i = 0, next = 0; i < inside.length; i += 1) {
    if (inside[i]) {
      volume[i] = steps[next];
      next += 1;
    }
  }
  volumes.set(component.id, volume);
  if (volumes.size > 8) volumes.delete(volumes.keys().next().value);
  return volume;
};
