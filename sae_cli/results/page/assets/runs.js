"use strict";
// Many runs in charts, and the chosen ones side by side.

const byId = (id) => document.getElementById(id);
const scatter = byId("trade-off-chart");
const lines = byId("curves-chart");
const MOST_GROUPS = 8;
const CHOSEN = "chosen runs";
// Beside each other are no more runs than fit.
const MOST_BESIDE = 8;

function fillSelect(select, values, chosen) {
  select.replaceChildren(...values.map((value) => new Option(value, value, false, value === chosen)));
}

function boxes() {
  return [...table.querySelectorAll("tbody input")];
}

function numberOf(box) {
  return Number(box.closest("tr").dataset.run);
}

function chosenRuns() {
  return boxes().filter((box) => box.checked).map(numberOf);
}

function visibleRuns() {
  return visibleRows().map((row) => Number(row.dataset.run));
}

function distinct(key) {
  return [...new Set(data.runs.map((run) => run.settings[key]))];
}

// The visible runs by what they are coloured by: a setting, or whether they are chosen.
function grouped() {
  const key = byId("colour").value;
  const chosen = chosenRuns();
  const groups = new Map();
  if (key !== CHOSEN) for (const value of distinct(key)) groups.set(`${key}=${value}`, []);
  for (const run of visibleRuns()) {
    const own = chosen.includes(run) ? data.runs[run].label : "others";
    const name = key === CHOSEN ? own : `${key}=${data.runs[run].settings[key]}`;
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(run);
  }
  return groups;
}

function groupColour(name, index) {
  return name === "others" ? colour("dim") : seriesColour(index);
}

// Of points, those that no other one is better than: in x and y, as far as each counts.
function front(points, x, y) {
  const sign = (metric) => (data.higher.includes(metric) ? -1 : 1);
  const sorted = [...points].sort((a, b) => sign(x) * (a.x - b.x) || sign(y) * (a.y - b.y));
  let best = Infinity;
  return sorted.filter((point) => {
    const better = sign(y) * point.y < best;
    best = Math.min(best, sign(y) * point.y);
    return better;
  });
}

function settingsOf(run) {
  return data.columns.map((key) => `${key}=${data.runs[run].settings[key]}`);
}

const describeRun = {
  title: (items) => items.map((item) => data.runs[item.raw.run]?.name ?? ""),
  beforeBody: (items) => items.flatMap((item) => settingsOf(item.raw.run)),
};

function drawTradeOff() {
  const [x, y] = [byId("x").value, byId("y").value];
  const chosen = chosenRuns();
  const point = (run) => ({ x: data.runs[run].metrics[x], y: data.runs[run].metrics[y], run });
  const measured = (runs) => runs.map(point).filter((one) => one.x !== null && one.y !== null);
  const isChosen = (context) => chosen.includes(context.raw?.run);
  show(scatter, () => {
    const sets = [...grouped()].map(([label, runs], index) => ({
      label,
      data: measured(runs),
      backgroundColor: groupColour(label, index),
      borderColor: (context) => (isChosen(context) ? colour("text") : groupColour(label, index)),
      borderWidth: (context) => (isChosen(context) ? 2 : 1),
      radius: (context) => (isChosen(context) ? 8 : 5),
      hoverRadius: 9,
      clip: false,
      pointStyle: SHAPES[index % SHAPES.length],
    }));
    sets.push({
      label: "front",
      type: "line",
      data: front(measured(visibleRuns()), x, y),
      borderColor: colour("dim"),
      backgroundColor: colour("dim"),
      borderWidth: 1.5,
      borderDash: [5, 4],
      pointRadius: 0,
      pointHitRadius: 0,
      pointStyle: "line",
      order: 9,
    });
    const label = (item) => [`${x}: ${rounded(item.raw.x)}`, `${y}: ${rounded(item.raw.y)}`];
    const tooltip = {
      filter: (item, place) => place === 0,
      callbacks: { ...describeRun, label },
    };
    const shared = options(x, y, { tooltip });
    shared.scales.x.bounds = "ticks";
    return {
      type: "scatter",
      data: { datasets: sets },
      options: {
        ...shared,
        onClick: (event, items, chart) => toggle(items[0]?.element.$context.raw.run),
      },
    };
  });
}

function curve(run, metric) {
  const { epochs, values } = data.runs[run].curves;
  return (values[metric] ?? []).map((y, i) => ({ x: epochs[i], y: y ?? NaN, run }));
}

// The curves of a group are one line with gaps, because hundreds of lines would take a second; each
// chosen run has a line of its own.
function linesOf(label, runs, index, metric) {
  const chosen = chosenRuns();
  const others = byId("only").checked ? [] : runs.filter((run) => !chosen.includes(run));
  const apart = runs.filter((run) => chosen.includes(run)).map((run) => [run]);
  return [others, ...apart]
    .filter((own) => own.length)
    .map((own, place) => ({
      label: place ? "" : label,
      data: own.flatMap((run) => [...curve(run, metric), { x: NaN, y: NaN, run }]),
      borderColor: groupColour(label, index) + (own === others ? "90" : ""),
      backgroundColor: groupColour(label, index),
      borderWidth: own === others ? 1 : 3,
      pointRadius: 0,
      pointHitRadius: 4,
      order: own === others ? 1 : 0,
    }));
}

// The top of the axis, where the values before training would flatten all others.
function ceiling(sets) {
  const points = sets.flatMap((set) => set.data);
  const largest = (keep) =>
    points.reduce((most, { x, y }) => (keep(x) && y > most ? y : most), -Infinity);
  const trained = largest((epoch) => epoch > 0);
  return trained > 0 && largest((epoch) => epoch === 0) > 1.6 * trained ? trained : undefined;
}

function drawCurves() {
  const metric = byId("metric").value;
  show(lines, () => {
    const sets = [...grouped()].flatMap(([label, runs], index) =>
      linesOf(label, runs, index, metric),
    );
    const label = (item) => `epoch ${item.raw.x}: ${item.raw.y}`;
    const tooltip = { filter: (item, place) => place === 0, callbacks: { ...describeRun, label } };
    const log = byId("log").checked;
    const made = options("epoch", metric, { log, tooltip });
    const top = log ? undefined : ceiling(sets);
    if (top !== undefined) {
      made.scales.y.max = Number((1.05 * top).toPrecision(3));
      made.scales.y.title.text = `${metric} (before training: above)`;
    }
    made.plugins.legend.labels.filter = (item) => item.text !== "";
    return { type: "line", data: { datasets: sets }, options: made };
  });
}

function element(tag, words, attributes = {}) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(words);
  return made;
}

function figureOf(run) {
  const name = byId("picture")?.value;
  const templates = document.querySelectorAll(`template[data-run="${run}"]`);
  const found = [...templates].find((one) => one.dataset.picture === name);
  const figure = document.createElement("figure");
  const caption = element("figcaption", `${data.runs[run].label}: ${settingsOf(run).join(", ")}`);
  figure.append(caption, found?.content.cloneNode(true) ?? element("p", "It has no such picture."));
  return figure;
}

function drawBeside() {
  const runs = chosenRuns().slice(0, MOST_BESIDE);
  byId("figures").replaceChildren(...(byId("picture") ? runs.map(figureOf) : []));
  const keys = Object.keys(data.runs[0].settings).filter(
    (key) => new Set(runs.map((run) => data.runs[run].settings[key])).size > 1,
  );
  const head = element("tr", element("th", "setting", { scope: "col" }));
  head.append(...runs.map((run) => element("th", data.runs[run].label, { scope: "col" })));
  const rows = keys.map((key) => {
    const row = element("tr", element("th", key, { scope: "row" }));
    row.append(...runs.map((run) => element("td", data.runs[run].settings[key])));
    return row;
  });
  const top = element("thead", head);
  const content = document.createElement("tbody");
  content.append(...rows);
  byId("differences").replaceChildren(top, content);
}

function toggle(run) {
  const box = boxes().find((one) => numberOf(one) === run);
  if (!box) return;
  box.checked = !box.checked;
  chosenChanged();
}

function chosenChanged() {
  for (const box of boxes()) box.closest("tr").classList.toggle("chosen", box.checked);
  drawTradeOff();
  drawCurves();
  drawBeside();
}

function pointAt(run) {
  const sets = Chart.getChart(scatter).data.datasets;
  const set = sets.findIndex((one) => one.type !== "line" && one.data.some((p) => p.run === run));
  if (set >= 0) mark(scatter, set, sets[set].data.findIndex((point) => point.run === run));
}

const curveMetrics = [...new Set(data.runs.flatMap((run) => Object.keys(run.curves.values)))];
const colourKeys = data.columns.filter((key) => {
  const n = distinct(key).length;
  return n > 1 && n <= MOST_GROUPS;
});
fillSelect(byId("x"), data.metrics, data.x);
fillSelect(byId("y"), data.metrics, data.y);
fillSelect(byId("metric"), curveMetrics, data.y);
fillSelect(byId("colour"), [...colourKeys, CHOSEN], colourKeys.find((key) => key !== "seed") ?? CHOSEN);
for (const id of ["x", "y"]) byId(id).addEventListener("change", drawTradeOff);
for (const id of ["metric", "log", "only"]) byId(id).addEventListener("change", drawCurves);
byId("colour").addEventListener("change", chosenChanged);
byId("picture")?.addEventListener("change", drawBeside);
body.addEventListener("change", chosenChanged);
body.addEventListener("focusin", (event) => {
  if (event.target.matches("input")) pointAt(numberOf(event.target));
});
scatter.addEventListener("keydown", (event) => {
  if (event.key === "Enter") toggle(Chart.getChart(scatter).getActiveElements()[0]?.element.$context.raw.run);
});
document.addEventListener("filtered", () => {
  drawTradeOff();
  drawCurves();
});
chosenChanged();
