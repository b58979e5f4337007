const NOT_AXES = /_(low|high|level)$/;
const FIRST_AXES = { x: ['latency_ms', 'time_ms', 'params_backbone'], y: ['miou', 'top1', 'peak_memory_mib', 'gflops_per_s'] };
const LOG_FROM_RATIO = 20;
const TRIED_SETTINGS = 12;
const MILLION = 1e6;

// Every metric of every suite that has values: [{suite, metric, rows: places}].
function measures() {
  const found = new Map();
  DATA.rows.forEach((row, place) => {
    for (const [metric, value] of Object.entries(row.metrics)) {
      if (typeof value !== 'number' || NOT_AXES.test(metric)) continue;
      const key = `${row.suite} ${metric}`;
      if (!found.has(key)) found.set(key, { key, suite: row.suite, metric, rows: [] });
      found.get(key).rows.push(place);
    }
  });
  return [...found.values()].sort((a, b) => a.suite.localeCompare(b.suite) || metricLabel(a.metric).localeCompare(metricLabel(b.metric)));
}

// The settings of a measure, those with most backbones first.
function settingsOf(measure) {
  const backbones = new Map();
  for (const place of measure.rows) {
    const { setting, backbone } = DATA.rows[place];
    backbones.set(setting, (backbones.get(setting) ?? new Set()).add(backbone));
  }
  return [...backbones].sort((a, b) => b[1].size - a[1].size || b[0].localeCompare(a[0], 'en', { numeric: true })).map(([setting]) => setting);
}

function settingChoices(measure) {
  const brief = new Map(measure.rows.map((place) => [DATA.rows[place].setting, DATA.rows[place].brief]));
  return settingsOf(measure).map((setting) => [setting, brief.get(setting) || setting]);
}

function backbonesAt(measure, setting) {
  return new Set(measure.rows.map((place) => DATA.rows[place]).filter((row) => row.setting === setting).map((row) => row.backbone));
}

// The axes that show most backbones, the usual metrics before others.
function firstAxes(found) {
  const ends = ['x', 'y'].map((name) => {
    const usual = FIRST_AXES[name].flatMap((metric) => found.filter((one) => one.metric === metric));
    const tried = usual.length ? usual : [found[name === 'x' ? 0 : found.length - 1]];
    return tried.flatMap((measure) => settingsOf(measure).slice(0, TRIED_SETTINGS).map((setting) => [measure, setting, backbonesAt(measure, setting)]));
  });
  let best = null;
  for (const [xMeasure, xSetting, these] of ends[0]) {
    for (const [yMeasure, ySetting, those] of ends[1]) {
      const shared = [...these].filter((name) => those.has(name)).length;
      if (!best || shared > best.shared) best = { shared, axes: [[xMeasure, xSetting], [yMeasure, ySetting]] };
    }
  }
  return best.axes;
}

function detail(row) {
  return row.label.slice(row.backbone.length).trim().replace(/^\(|\)$/g, '');
}

function pointName(first, second) {
  if (first === second) return first.label;
  const details = unique([detail(first), detail(second)].filter(Boolean));
  return details.length ? `${first.backbone} (${details.join('; ')})` : first.backbone;
}

// One row where both values are its own; else every pair of rows of one backbone.
function pairs(x, y) {
  const at = (axis) => axis.measure.rows.filter((place) => DATA.rows[place].setting === axis.setting);
  const [first, second] = [at(x), at(y)];
  if (x.measure.suite === y.measure.suite && x.setting === y.setting) {
    return first.filter((place) => second.includes(place)).map((place) => [place, place]);
  }
  return first.flatMap((one) => second.filter((other) => DATA.rows[other].backbone === DATA.rows[one].backbone).map((other) => [one, other]));
}

function tradeoffPoints(x, y) {
  const span = (row, metric) => {
    const value = row.metrics[metric];
    return [value, row.metrics[`${metric}_low`] ?? value, row.metrics[`${metric}_high`] ?? value];
  };
  return pairs(x, y).map(([one, other]) => {
    const [first, second] = [DATA.rows[one], DATA.rows[other]];
    const [xv, left, right] = span(first, x.measure.metric);
    const [yv, low, high] = span(second, y.measure.metric);
    const name = pointName(first, second);
    const told = [[x, xv], [y, yv]].map(([axis, value]) => `${metricLabel(axis.measure.metric)}: ${formatNumber(value)}`);
    return { x: xv, y: yv, left, right, low, high, name, backbone: first.backbone, head: [name, ...told].join(', '), sources: unique([one, other]) };
  });
}

function padded(values, log) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (log) return [low / 1.3, high * 1.3];
  const room = (high - low || Math.abs(high) || 1) * 0.1;
  return [low - room, high + room];
}

// Counts in the millions are drawn in millions: axes have no room for their digits.
function scaled(points, ends) {
  const factor = Math.min(...points.flatMap((point) => ends.map((end) => Math.abs(point[end])))) >= MILLION ? MILLION : 1;
  const scale = (point) => Object.fromEntries(ends.map((end) => [end, point[end] / factor]));
  return [points.map((point) => ({ ...point, ...scale(point) })), factor === 1 ? '' : ' (millions)'];
}

function tradeoffSpec(x, y, found) {
  const [wide, across] = scaled(found, ['x', 'left', 'right']);
  const [points, up] = scaled(wide, ['y', 'low', 'high']);
  const groups = unique(points.map((point) => point.backbone)).sort();
  const axis = (one, ends, unit) => {
    const values = points.flatMap((point) => ends.map((end) => point[end]));
    const log = one.log && values.every((value) => value > 0);
    return { log, range: padded(values, log), label: `${metricLabel(one.measure.metric)}${unit}${log ? ', log scale' : ''}` };
  };
  return {
    label: `${metricLabel(y.measure.metric)} over ${metricLabel(x.measure.metric)}`,
    note: `Across: ${x.measure.suite}, ${x.setting}. Up: ${y.measure.suite}, ${y.setting}. Bars: 95 % intervals, where they were measured.`,
    x: axis(x, ['x', 'left', 'right'], across),
    y: axis(y, ['y', 'low', 'high'], up),
    groups: groups.map((name) => ({ name, points: points.filter((point) => point.backbone === name) })),
    first: groups.length,
    table: () => tradeoffGrid(x, y, found),
  };
}

function tradeoffGrid(x, y, points) {
  const columns = ['point', metricLabel(x.measure.metric), metricLabel(y.measure.metric)].map((name) => ({ group: '', name }));
  const lines = points.map((point) => ({
    cells: [{ text: point.name }, ...[point.x, point.y].map((value) => ({ text: formatNumber(value), key: value, sources: point.sources }))],
  }));
  return new Grid({ caption: 'The points of the trade-off chart', columns, lines });
}

function isWide(measure, setting) {
  const values = measure.rows.map((place) => DATA.rows[place]).filter((row) => row.setting === setting).map((row) => row.metrics[measure.metric]);
  const low = Math.min(...values);
  return low > 0 && Math.max(...values) / low > LOG_FROM_RATIO;
}

function drawTradeoff() {
  const found = measures();
  if (!found.length) return null;
  byId('tradeoff').hidden = false;
  const chart = new Chart(byId('tradeoff-chart'));
  const axes = {};
  const choose = (name, measure, setting) => {
    const settings = settingsOf(measure);
    const chosen = settings.includes(setting) ? setting : settings[0];
    axes[name] = { measure, setting: chosen, log: isWide(measure, chosen) };
  };
  const draw = () => {
    const points = tradeoffPoints(axes.x, axes.y);
    if (points.length) chart.draw(tradeoffSpec(axes.x, axes.y, points));
    else chart.message('No backbone has both values at these settings: choose others.');
  };
  const controls = byId('tradeoff-controls');
  const refresh = () => {
    const sets = [['x', 'Across'], ['y', 'Up']].map(([name, title]) => {
      const axis = axes[name];
      const again = (measure, setting) => {
        choose(name, measure, setting);
        refresh();
      };
      const named = found.map((one) => [one.key, `${one.suite}: ${metricLabel(one.metric)}`]);
      const rescale = (on) => {
        axis.log = on;
        draw();
      };
      return el(
        'fieldset',
        {},
        el('legend', {}, title),
        selectField('Metric', named, axis.measure.key, (key) => again(found.find((one) => one.key === key), axis.setting)),
        selectField('Measured at', settingChoices(axis.measure), axis.setting, (setting) => again(axis.measure, setting)),
        checkField('logarithmic', axis.log, rescale),
      );
    });
    const place = [...controls.querySelectorAll('select, input')].indexOf(document.activeElement);
    controls.replaceChildren(...sets);
    if (place >= 0) controls.querySelectorAll('select, input')[place]?.focus();
    draw();
  };
  const [x, y] = firstAxes(found);
  choose('x', ...x);
  choose('y', ...y);
  refresh();
  return chart;
}
