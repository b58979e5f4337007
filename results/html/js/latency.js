function latencyPoints(series) {
  return series.points.filter((point) => point.time).map((point) => {
    const [value, low, high] = point.time;
    const head = `${series.label}, ${point.res} pixels: ${formatNumber(value)} ms [${formatNumber(low)}, ${formatNumber(high)}]`;
    return { x: point.res, y: value, low, high, left: point.res, right: point.res, head, sources: [point.row] };
  });
}

// Sizes without a number stand below the upper edge, each series on a line of its own, as in the report's figure.
function latencyMarks(series, index, { start, end }) {
  const y = end / (end / start) ** (0.04 + 0.055 * (index % 6));
  return series.points.filter((point) => !point.time && point.mark !== '-').map((point) => {
    return { x: point.res, y, text: point.mark, head: `${series.label}, ${point.res} pixels: ${point.mark}`, sources: [point.row] };
  });
}

function latencySpec(chart) {
  const times = chart.series.flatMap((series) => series.points.flatMap((point) => point.time ?? []));
  const sizes = unique(chart.series.flatMap((series) => series.points.map((point) => point.res))).sort((a, b) => a - b);
  const marked = chart.series.some((series) => series.points.some((point) => !point.time && point.mark !== '-'));
  const range = { start: Math.min(...times) / 1.5, end: Math.max(...times) * (marked ? 4 : 1.6) };
  const groups = chart.series.map((series, index) => ({
    name: series.label,
    note: series.growth ? `grows as ${series.growth}` : '',
    joined: true,
    points: latencyPoints(series),
    marks: latencyMarks(series, index, range),
  }));
  return {
    label: `Latency over resolution, ${chart.title}`,
    note: `${chart.title}. Bars: 95 % intervals; crosses: sizes without a number. ${chart.noise}`,
    x: { label: 'input resolution (pixels, square, log scale)', log: true, ticks: sizes, range: [sizes[0] / 1.18, sizes.at(-1) * 1.12] },
    y: { label: 'latency (ms, log scale)', log: true, range: [range.start, range.end] },
    groups,
    first: MANY_GROUPS,
    table: () => latencyGrid(chart),
  };
}

function latencyGrid(chart) {
  const columns = ['backbone', 'resolution', 'median (ms)', '95 % low', '95 % high'].map((name) => ({ group: '', name }));
  const lines = chart.series.flatMap((series) => series.points.map((point) => {
    const times = point.time ?? [null, null, null];
    const sources = [point.row];
    const shown = times.map((time, index) => ({
      text: time === null ? (index ? '-' : point.mark) : formatNumber(time), key: time, sources,
    }));
    return { cells: [{ text: series.label }, { text: String(point.res) }, ...shown] };
  }));
  return new Grid({ caption: `Latency, ${chart.title}`, columns, lines });
}

function drawLatency() {
  const charts = DATA.latency.filter((one) => one.series.some((series) => series.points.some((point) => point.time)));
  if (!charts.length) return null;
  byId('latency').hidden = false;
  const chart = new Chart(byId('latency-chart'));
  if (charts.length > 1) {
    const choices = charts.map((one, index) => [String(index), one.title]);
    byId('latency-controls').append(selectField('Device and settings', choices, '0', (value) => chart.draw(latencySpec(charts[value]))));
  }
  chart.draw(latencySpec(charts[0]));
  return chart;
}
