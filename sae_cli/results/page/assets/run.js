"use strict";
// The curves of a run: training and validation together, with the target where there is one.

function curveSets(chart) {
  const sets = chart.curves.map((curve) => {
    const own = seriesColour(curve.label === "train" ? 0 : 1);
    return {
      label: curve.label,
      data: curve.points.map(([x, y]) => ({ x: x ?? NaN, y: y ?? NaN })),
      borderColor: own,
      backgroundColor: own,
      borderWidth: curve.label === "train" ? 3 : 1.75,
      pointRadius: curve.points.length > 40 ? 0 : 2,
    };
  });
  if (chart.target !== null) {
    const epochs = chart.curves.flatMap((curve) => curve.points.map(([x]) => x ?? 0));
    sets.push({
      label: "target",
      data: [Math.min(...epochs), Math.max(...epochs)].map((x) => ({ x, y: chart.target })),
      borderColor: colour("dim"),
      backgroundColor: colour("dim"),
      borderDash: [6, 4],
      borderWidth: 1.5,
      pointRadius: 0,
    });
  }
  return sets;
}

for (const canvas of document.querySelectorAll("canvas[data-chart]")) {
  const chart = data.charts[canvas.dataset.chart];
  const tooltip = { callbacks: { title: (items) => `epoch ${items[0]?.parsed.x}` } };
  show(canvas, () => ({
    type: "line",
    data: { datasets: curveSets(chart) },
    options: options("", "", { log: chart.log, tooltip }),
  }));
}
