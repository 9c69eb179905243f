"use strict";
// The data of the page, its colours, and what all charts share.

const data = JSON.parse(document.getElementById("data").textContent);
const N_COLOURS = 8;
const SHAPES = ["circle", "rect", "triangle", "rectRot", "star", "crossRot", "rectRounded", "cross"];
const makers = new Map();

// A colour of the style sheet, of the light or the dark one.
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function seriesColour(index) {
  return colour(`c${index % N_COLOURS}`);
}

// Draw a chart, now and whenever the colours change. `make` gives the configuration of Chart.js.
function show(canvas, make) {
  makers.set(canvas, make);
  Chart.defaults.color = colour("dim");
  Chart.defaults.borderColor = colour("grid");
  Chart.getChart(canvas)?.destroy();
  new Chart(canvas, make());
}

function rounded(value) {
  return Number(value.toPrecision(5));
}

// Chart.js puts a line of zeros in the middle of an axis from -1 to 1, and a count is never below 0.
function fromZero(scale) {
  if (scale.min < 0 && scale.getMinMax(false).min >= 0) scale.min = 0;
}

function options(x, y, { log = false, legend = true, tooltip = {} } = {}) {
  const type = log ? "logarithmic" : "linear";
  return {
    animation: false,
    maintainAspectRatio: false,
    parsing: false,
    interaction: { mode: "nearest", intersect: false },
    scales: {
      x: {
        type: "linear",
        bounds: "data",
        afterDataLimits: fromZero,
        title: { display: Boolean(x), text: x },
      },
      y: { type, afterDataLimits: fromZero, title: { display: Boolean(y), text: y } },
    },
    plugins: {
      legend: { display: legend, labels: { boxWidth: 8, boxHeight: 8, usePointStyle: true } },
      tooltip: {
        backgroundColor: colour("text"),
        titleColor: colour("back"),
        bodyColor: colour("back"),
        ...tooltip,
      },
    },
  };
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const [canvas, make] of makers) show(canvas, make);
});

// Put the mark of a chart on a point, as the mouse would, and say it.
function mark(canvas, datasetIndex, index) {
  const chart = Chart.getChart(canvas);
  const active = [{ datasetIndex, index }];
  chart.setActiveElements(active);
  chart.tooltip.setActiveElements(active, { x: 0, y: 0 });
  chart.update();
  const { title = [], body = [] } = chart.tooltip;
  const words = [...title, ...body.flatMap((part) => [...part.before, ...part.lines])];
  document.getElementById("spoken").textContent = words.join(", ");
}

// The arrow keys lead from point to point, and up and down from curve to curve.
function walk(event) {
  const moves = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
  const move = moves[event.key];
  const chart = Chart.getChart(event.currentTarget);
  if (!move || !chart) return;
  event.preventDefault();
  const active = chart.getActiveElements()[0];
  const sets = chart.data.datasets;
  let set = active ? active.datasetIndex + move[0] : 0;
  set = (set + sets.length) % sets.length;
  const points = sets[set].data;
  if (!points.length) return;
  let index = active ? active.index : -1;
  do index = (index + (move[1] || (index < 0 ? 1 : 0)) + points.length) % points.length;
  while (Number.isNaN(points[index]?.x) && move[1]);
  mark(event.currentTarget, set, Math.min(index, points.length - 1));
}

for (const canvas of document.querySelectorAll("canvas")) {
  canvas.addEventListener("keydown", walk);
}
