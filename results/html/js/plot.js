// Okabe and Ito's palette, as in the figures; darker shades are lifted for the dark page.
const PALETTES = {
  light: ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#B97F00', '#2F8FC4', '#000000', '#6E6E00'],
  dark: ['#4DA9E0', '#FF8A3D', '#2FCB9F', '#E9A3CB', '#F2BE3E', '#8FD3FF', '#FFFFFF', '#D0D04A'],
};
const MARKERS = ['circle', 'square', 'triangle', 'diamond', 'inverted_triangle', 'star', 'hex', 'square_pin'];
const SIZES = [10, 10, 12, 15, 12, 15, 12, 12];
const SWATCHES = ['●', '■', '▲', '◆', '▼', '★', '⬢', '✦'];
const DASHES = ['solid', 'dashed', 'dotdash', 'dotted'];

function pointStyle(index) {
  const palette = PALETTES[document.documentElement.dataset.theme] ?? PALETTES.light;
  const place = index % palette.length;
  const round = Math.floor(index / palette.length);
  const dash = DASHES[round % DASHES.length];
  const shape = (place + round) % MARKERS.length; // a colour comes back with another marker
  return { color: palette[place], marker: MARKERS[shape], size: SIZES[shape], swatch: SWATCHES[shape], dash };
}

function cssColor(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function styleFigure(figure) {
  const [text, soft, line, panel] = ['--text', '--soft', '--line', '--panel'].map(cssColor);
  figure.setv({ background_fill_color: panel, border_fill_color: panel, outline_line_color: line });
  for (const axis of [...figure.below, ...figure.left]) {
    if (!('axis_label' in axis)) continue;
    axis.setv({
      axis_label_text_color: text, axis_label_text_font_style: 'normal', axis_label_text_font_size: '13px',
      major_label_text_color: soft, major_label_text_font_size: '12px',
      axis_line_color: line, major_tick_line_color: line, minor_tick_line_color: null,
    });
  }
  for (const grid of figure.center) {
    if ('grid_line_color' in grid) grid.setv({ grid_line_color: line, grid_line_alpha: 0.6 });
  }
  figure.toolbar.logo = null;
}

const MOST_TICKS = 16;
const MANY_GROUPS = 12;

// Sizes whose labels do not run into each other on a logarithmic axis with room for so many.
function spacedOut(sizes, room) {
  const least = Math.log(sizes.at(-1) / sizes[0]) / room;
  const kept = [];
  for (const size of sizes) {
    if (!kept.length || Math.log(size / kept.at(-1)) >= least) kept.push(size);
  }
  return kept;
}

// 1, 2 and 5 of every decade, far beyond the range too, so that there are some wherever a reader moves to.
function decadeTicks([low, high]) {
  const [first, last] = [Math.floor(Math.log10(low)) - 3, Math.ceil(Math.log10(high)) + 3];
  const mantissas = Math.log10(high / low) > 4 ? [1] : [1, 2, 5];
  const decades = Array.from({ length: last - first + 1 }, (_, index) => first + index);
  return decades.flatMap((power) => mantissas.map((mantissa) => Number(`${mantissa}e${power}`)));
}

function scaleAxis(axis, { log, ticks, range }, room) {
  if (!log) return;
  const at = ticks ? spacedOut(ticks, room) : decadeTicks(range);
  axis.ticker = new Bokeh.FixedTicker({ ticks: at, minor_ticks: [] });
  axis.formatter = new Bokeh.BasicTickFormatter({ use_scientific: false });
  axis.major_label_overrides = new Map(at.map((tick) => [tick, formatNumber(tick)]));
}

function hoverContent(head, sources) {
  const box = el('div', {}, el('p', {}, el('strong', {}, head)), tipContent(sources));
  // Bokeh shows this inside a shadow root, where the page's style sheet does not reach.
  box.style.cssText = `color:${cssColor('--text')};font:13px/1.4 system-ui,sans-serif;max-width:min(24rem,70vw);`;
  for (const term of box.querySelectorAll('dt')) term.style.cssText = 'float:left;clear:left;margin-right:.5em;font-weight:600';
  for (const fact of box.querySelectorAll('dd')) fact.style.cssText = 'margin:0 0 .1em 0;overflow-wrap:anywhere';
  for (const part of box.querySelectorAll('p, dl')) part.style.margin = '0 0 .3em 0';
  return box;
}

// A chart with a legend of check boxes and its points as a table: what a canvas cannot be to a keyboard or a reader.
class Chart {
  constructor(holder) {
    this.canvas = el('div', { class: 'canvas', role: 'img' });
    this.legend = el('div', { class: 'legend', role: 'group', 'aria-label': 'Shown in the chart' });
    this.note = el('p', { class: 'note' });
    this.points = el('div');
    holder.append(this.canvas, this.legend, this.note, this.points);
  }

  // `spec`: {label, note, x, y, groups, first, table}; an axis is {label, log, range, ticks}, a group
  // {name, note, joined, points: [{x, y, low, high, left, right, head, sources}], marks: [{x, y, text, head, sources}]},
  // `first` how many groups are shown before anybody chooses, `table` makes the Grid of all points.
  draw(spec) {
    this.spec = spec;
    this.hidden = new Set(spec.groups.slice(spec.first).map((group) => group.name));
    this.canvas.setAttribute('aria-label', `${spec.label}. The points stand in the table below the chart.`);
    this.note.textContent = spec.note;
    this.drawLegend();
    this.drawPoints();
    this.redraw();
  }

  recolour() {
    if (!this.spec) return;
    this.drawLegend();
    this.redraw();
  }

  async redraw() {
    this.clear();
    const turn = (this.turn = Symbol('turn'));
    const view = await Bokeh.Plotting.show(this.figure(), this.canvas);
    if (this.turn === turn) this.view = view;
    else view.remove();
  }

  clear() {
    this.turn = null;
    this.view?.remove();
    this.view = null;
    this.canvas.replaceChildren();
  }

  message(text) {
    this.spec = null;
    this.clear();
    this.canvas.append(el('p', { class: 'notice' }, text));
    this.canvas.setAttribute('aria-label', text);
    this.legend.replaceChildren();
    this.note.textContent = '';
    this.points.replaceChildren();
  }

  figure() {
    const { spec } = this;
    const narrow = window.innerWidth < 600;
    const figure = Bokeh.Plotting.figure({
      x_axis_type: spec.x.log ? 'log' : 'linear',
      y_axis_type: spec.y.log ? 'log' : 'linear',
      x_range: spec.x.range,
      y_range: spec.y.range,
      tools: 'pan,box_zoom,wheel_zoom,reset,save',
      toolbar_location: narrow ? 'above' : 'right',
      sizing_mode: 'stretch_width',
      width: this.canvas.clientWidth,
      height: narrow ? 340 : 460,
      min_border_right: 12,
    });
    // A finger that scrolls the page must not be caught by the chart.
    if (window.matchMedia('(pointer: coarse)').matches) figure.toolbar.active_drag = null;
    for (const [name, side] of [['x', 'below'], ['y', 'left']]) {
      const axis = figure[side][0];
      axis.axis_label = spec[name].label;
      scaleAxis(axis, spec[name], narrow ? MOST_TICKS / 2 : MOST_TICKS);
      figure[`${name}grid`].ticker = axis.ticker;
    }
    const shown = spec.groups.map((group, index) => ({ ...group, style: pointStyle(index) })).filter((group) => !this.hidden.has(group.name));
    addTools(figure, [...drawPoints(figure, shown), ...drawMarks(figure, shown)]);
    styleFigure(figure);
    return figure;
  }

  drawLegend() {
    const { groups } = this.spec;
    const toggle = (names) => (on) => {
      for (const name of names) this.hidden[on ? 'delete' : 'add'](name);
      if (names.length > 1) this.drawLegend();
      this.redraw();
    };
    const boxes = groups.map((group, index) => {
      const style = pointStyle(index);
      const swatch = el('span', { class: 'swatch', 'aria-hidden': 'true' }, style.swatch);
      swatch.style.color = style.color;
      const box = checkField(group.name, !this.hidden.has(group.name), toggle([group.name]), swatch);
      if (group.note) box.append(el('span', { class: 'count' }, group.note));
      return box;
    });
    const names = groups.map((group) => group.name);
    const whole = (text, on) => el('button', { type: 'button', class: 'plain', onclick: () => toggle(names)(on) }, text);
    const all = groups.length > MANY_GROUPS ? [whole('Show all', true), whole('Show none', false)] : [];
    this.legend.replaceChildren(...all, ...boxes);
  }

  drawPoints() {
    const { table } = this.spec;
    const node = el('details', {}, el('summary', {}, 'The points as a table'));
    node.addEventListener('toggle', () => {
      if (node.open && node.children.length === 1) node.append(table().node);
    });
    this.points.replaceChildren(node);
  }
}

function sourceOf(points, names) {
  return new Bokeh.ColumnDataSource({ data: Object.fromEntries(names.map((name) => [name, points.map((point) => point[name])])) });
}

const field = (name) => ({ field: name });

// All groups share one renderer of points and one of bars: a hundred groups still draw at once.
function drawPoints(figure, groups) {
  for (const { points, style } of groups.filter((group) => group.joined)) {
    const line = { line_color: style.color, line_width: 2, line_dash: style.dash };
    figure.line({ x: field('x'), y: field('y'), source: sourceOf(points, ['x', 'y']), ...line });
  }
  const points = groups.flatMap((group) => group.points.map((point) => ({ ...point, ...group.style })));
  const source = sourceOf(points, ['x', 'y', 'low', 'high', 'left', 'right', 'head', 'sources', 'color', 'marker', 'size']);
  const bar = { source, line_color: field('color'), line_width: 2 };
  figure.segment({ x0: field('x'), y0: field('low'), x1: field('x'), y1: field('high'), ...bar });
  figure.segment({ x0: field('left'), y0: field('y'), x1: field('right'), y1: field('y'), ...bar });
  return [figure.scatter({
    x: field('x'), y: field('y'), source, marker: field('marker'), size: field('size'), fill_color: field('color'),
    line_color: cssColor('--panel'), line_width: 1,
  })];
}

function drawMarks(figure, groups) {
  const marks = groups.flatMap((group) => (group.marks ?? []).map((mark) => ({ ...mark, color: group.style.color })));
  if (!marks.length) return [];
  const at = { x: field('x'), y: field('y'), source: sourceOf(marks, ['x', 'y', 'text', 'head', 'sources', 'color']) };
  figure.text({
    ...at, text: field('text'), text_color: field('color'), text_font_size: '11px', text_align: 'right',
    text_baseline: 'middle', x_offset: -9,
  });
  return [figure.scatter({ ...at, marker: 'x', size: 10, line_color: field('color'), line_width: 2.5 })];
}

// What is under the pointer is told, and a click opens the record.
function addTools(figure, renderers) {
  const at = (source, index) => [source.data.head[index], source.data.sources[index]];
  const tooltips = (source, info) => hoverContent(...at(source, info.index));
  const execute = (_, { source }) => {
    const index = source.inspected.indices[0];
    if (index != null) openRecord(at(source, index)[1]);
  };
  figure.add_tools(new Bokeh.HoverTool({ renderers, tooltips, point_policy: 'snap_to_data', visible: false }));
  figure.add_tools(new Bokeh.TapTool({ renderers, behavior: 'inspect', callback: { execute }, visible: false }));
}
