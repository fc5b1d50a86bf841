"use strict";
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const cells = () => [...body.rows].map((row) => row.cells[column]);
    const numbers = cells().some((cell) => "sort" in cell.dataset);
    if (numbers) head.classList.add("numbers");
    if (body.rows.length < 2) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") === "descending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const key = (row) => row.cells[column];
      const value = (cell) => Number(cell.dataset.sort ?? "NaN");
      const rows = [...body.rows].sort((one, two) => {
        const [a, b] = [key(one), key(two)];
        if (!numbers) return a.textContent.localeCompare(b.textContent) * (ascending ? -1 : 1);
        if (Number.isNaN(value(a)) || Number.isNaN(value(b))) return Number.isNaN(value(a)) - Number.isNaN(value(b));
        return (value(a) - value(b)) * (ascending ? 1 : -1);
      });
      body.append(...rows);
    });
  });
}
for (const people of document.querySelectorAll(".people")) {
  const articles = [...people.querySelectorAll("article")];
  if (articles.length < 2) continue;
  const label = document.createElement("label");
  const select = document.createElement("select");
  for (const article of articles) select.add(new Option(article.dataset.person));
  const show = () => articles.forEach((article, number) => { article.hidden = number !== select.selectedIndex; });
  select.addEventListener("change", show);
  label.append("Show ", select);
  people.prepend(label);
  show();
}
