"use strict";
// The table of runs: sorted, filtered, copied. Without a script it is there as well.

const table = document.getElementById("runs");
const heads = [...table.tHead.rows[0].cells];
const names = heads.map((head) => head.textContent.trim());
const body = table.tBodies[0];
const collator = new Intl.Collator("en", { numeric: true });

function text(cell) {
  return (cell.dataset.value ?? cell.textContent).trim();
}

function compare(one, other) {
  const difference = Number(one) - Number(other);
  return Number.isNaN(difference) ? collator.compare(one, other) : difference;
}

// Runs without a value come last either way.
function sortBy(column) {
  const descending = heads[column].getAttribute("aria-sort") === "ascending";
  for (const head of heads) head.removeAttribute("aria-sort");
  heads[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
  const keyed = [...body.rows].map((row) => [text(row.cells[column]), row]);
  keyed.sort(([one], [other]) => {
    if (!one || !other) return Number(!one) - Number(!other);
    return descending ? compare(other, one) : compare(one, other);
  });
  body.append(...keyed.map(([, row]) => row));
}

// A row fits if it has every word and keeps every bound, such as val/l0<10.
function condition(word) {
  const [, name, sign, bound] = /^(.+?)(<=|>=|<|>)([-+.\de]+)$/.exec(word) ?? [];
  const column = names.indexOf(name);
  if (column < 0) return (row) => row.textContent.toLowerCase().includes(word.toLowerCase());
  const signs = {
    "<": (a, b) => a < b,
    ">": (a, b) => a > b,
    "<=": (a, b) => a <= b,
    ">=": (a, b) => a >= b,
  };
  return (row) => {
    const value = text(row.cells[column]);
    return value !== "" && signs[sign](Number(value), Number(bound));
  };
}

function filter(words) {
  const conditions = words.split(/\s+/).filter(Boolean).map(condition);
  for (const row of body.rows) row.hidden = !conditions.every((fits) => fits(row));
  const left = visibleRows().length;
  document.getElementById("count").textContent =
    left === body.rows.length ? "" : `${left} of ${body.rows.length} runs`;
  document.dispatchEvent(new Event("filtered"));
}

function visibleRows() {
  return [...body.rows].filter((row) => !row.hidden);
}

const formats = {
  markdown(rows) {
    const line = (cells) => `| ${cells.map((cell) => cell.replace(/[\\|]/g, "\\$&")).join(" | ")} |`;
    return [line(rows[0]), line(rows[0].map(() => "---")), ...rows.slice(1).map(line)].join("\n");
  },
  latex(rows) {
    const special = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}" };
    const escape = (cell) => cell.replace(/[\\~^]|[&%$#_{}]/g, (sign) => special[sign] ?? `\\${sign}`);
    const lines = rows.map((cells) => `${cells.map(escape).join(" & ")} \\\\`);
    const layout = rows[0].map((_, i) => (i ? "r" : "l")).join("");
    return [
      `\\begin{tabular}{${layout}}`, "\\hline", lines[0], "\\hline", ...lines.slice(1), "\\hline",
      "\\end{tabular}",
    ].join("\n");
  },
  csv(rows) {
    // A spreadsheet would compute a text that begins like a formula.
    const safe = (cell) => (/^[=+@\t-]/.test(cell) && Number.isNaN(Number(cell)) ? `'${cell}` : cell);
    const quote = (cell) => (/[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
    return rows.map((cells) => cells.map(safe).map(quote).join(",")).join("\n");
  },
};

// CSV has the numbers as they are, the others as they are shown.
async function copy(format) {
  const cells = (row) =>
    [...row.cells].map((cell) => (format === "csv" ? text(cell) : cell.textContent.trim()));
  const written = formats[format]([names, ...visibleRows().map(cells)]);
  const dialog = document.getElementById("copied");
  const area = dialog.querySelector("textarea");
  area.value = written;
  dialog.showModal();
  area.select();
  const said = dialog.querySelector("output");
  try {
    await navigator.clipboard.writeText(written);
    said.textContent = "It has been copied.";
  } catch {
    said.textContent = "Copy it with Ctrl-C.";
  }
}

heads.forEach((head, column) => {
  head.querySelector("button").addEventListener("click", () => sortBy(column));
});
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", () => copy(button.dataset.copy));
}
let typing = 0;
document.getElementById("filter").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => filter(event.target.value), 120);
});
