"use strict";
// What a comparison of participants says of a component stands in its panel, with links to it.
const tellWithoutComparison = Panel.prototype.tell;
Panel.prototype.tell = function tell() {
  tellWithoutComparison.call(this);
  this.root.querySelector(".compared-links")?.remove();
  const found = data.compared?.[this.component.id] ?? [];
  if (!found.length) return;
  const told = element("p", { class: "compared-links" }, "Comparison of participants: ");
  found.forEach(({ id, title, text }, index) => {
    told.append(index ? "; " : "", id ? element("a", { href: `#${id}` }, title) : title, `: ${text}`);
  });
  this.find("key-facts").after(told);
};
