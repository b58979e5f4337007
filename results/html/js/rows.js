const HEADLINES = ['miou', 'mbiou', 'top1', 'map', 'latency_ms', 'time_ms', 'images_per_s', 'peak_memory_mib', 'params_backbone'];
const COLUMNS_AT_FIRST = 6;

function settingText(row) {
  const detail = row.label === row.backbone ? '' : row.label.slice(row.backbone.length).trim();
  return [row.brief, detail].filter(Boolean).join(' ') || '-';
}

function metricsOf(rows) {
  const counts = new Map();
  for (const row of rows) {
    for (const [name, value] of Object.entries(row.metrics)) {
      if (value != null) counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  const rank = (name) => (HEADLINES.includes(name) ? HEADLINES.indexOf(name) : HEADLINES.length);
  return [...counts.keys()].sort((a, b) => rank(a) - rank(b) || counts.get(b) - counts.get(a) || (a < b ? -1 : 1));
}

function rowsGrid(places, metrics) {
  const names = ['backbone', 'suite', 'settings', 'status', ...metrics.map(metricLabel), 'device', 'date'];
  const lines = places.map((place) => {
    const row = DATA.rows[place];
    const sources = [place];
    const values = metrics.map((name) => {
      const value = row.metrics[name] ?? null;
      return { text: formatNumber(value), key: value, sources: value === null ? null : sources };
    });
    const texts = [row.backbone, row.suite, settingText(row)].map((text) => ({ text }));
    const status = { text: row.status, sources, content: el('span', { class: `status ${row.status}` }, row.status) };
    return { cells: [...texts, status, ...values, { text: row.device }, { text: dateText(row) }] };
  });
  return new Grid({ caption: 'The newest row of every cell on every device', columns: names.map((name) => ({ group: '', name })), lines });
}

function drawRows() {
  if (!DATA.rows.length) return;
  byId('rows').hidden = false;
  const chosen = { suite: '', status: '', device: '', metrics: new Set() };
  const column = el('details', { class: 'columns' }, el('summary', {}, 'Columns'));
  const holder = byId('rows-table');
  const wanted = () => DATA.rows.flatMap((row, place) => {
    const fits = ['suite', 'status', 'device'].every((name) => !chosen[name] || row[name] === chosen[name]);
    return fits ? [place] : [];
  });
  const redraw = () => {
    const places = wanted();
    const known = metricsOf(places.map((place) => DATA.rows[place]));
    holder.replaceChildren(rowsGrid(places, known.filter((name) => chosen.metrics.has(name))).node);
  };
  const reset = () => {
    const known = metricsOf(wanted().map((place) => DATA.rows[place]));
    chosen.metrics = new Set(known.slice(0, COLUMNS_AT_FIRST));
    const toggle = (name) => (on) => {
      chosen.metrics[on ? 'add' : 'delete'](name);
      redraw();
    };
    const boxes = known.map((name) => checkField(metricLabel(name), chosen.metrics.has(name), toggle(name)));
    column.replaceChildren(column.firstChild, el('div', { class: 'boxes' }, ...boxes));
    redraw();
  };
  for (const [name, label] of [['suite', 'Suite'], ['status', 'Status'], ['device', 'Device']]) {
    const values = unique(DATA.rows.map((row) => row[name])).sort();
    const choose = (value) => {
      chosen[name] = value;
      reset();
    };
    byId('rows-controls').append(selectField(label, [['', 'all'], ...values], '', choose));
  }
  byId('rows-controls').append(column);
  reset();
}
