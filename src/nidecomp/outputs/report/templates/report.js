"use strict";
// Tables sort by their heads and filter by the field above them; without scripts they just stand.
const value = (cell) => {
  const text = cell.dataset.value ?? cell.textContent.trim();
  return text === "" || isNaN(text) ? text.toLowerCase() : Number(text);
};
const before = (a, b) => {
  if (a === "" || b === "") return (a === "") - (b === "");
  if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
  return typeof a === "number" ? -1 : 1;
};
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  for (const head of table.tHead.rows[0].cells) {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows];
      rows.sort((a, b) => {
        const [first, second] = [value(a.cells[head.cellIndex]), value(b.cells[head.cellIndex])];
        // What is not known stands last, whichever way.
        const order = before(first, second);
        return first === "" || second === "" ? order : down ? -order : order;
      });
      body.append(...rows);
    });
  }
  const field = document.querySelector(`input[data-table="${table.id}"]`);
  field?.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
}
