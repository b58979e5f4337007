function withCode(text) {
  return text.split(/`([^`]+)`/).map((part, place) => (place % 2 ? el('code', {}, part) : part));
}

function cellContent(text, parts) {
  if (!parts) return text;
  return text.split(' / ').flatMap((part, place) => [place ? ' / ' : '', parts.has(place) ? el('strong', {}, part) : part]);
}

function tableGrid(table) {
  const best = new Map();
  for (const [line, column, part] of table.best) {
    const key = `${line},${column}`;
    best.set(key, (best.get(key) ?? new Set()).add(part));
  }
  const lines = table.cells.map((cells, line) => ({
    cells: cells.map((text, column) => ({
      text,
      content: cellContent(text, best.get(`${line},${column}`)),
      sources: table.sets[table.sources[line]?.[column] ?? -1],
    })),
  }));
  return new Grid({ caption: table.caption, columns: table.columns.map(([group, name]) => ({ group, name })), lines });
}

function sentences(text) {
  return text.split(/(?<=\.) /);
}

// What captions under one title do not share: by it a reader tells the tables apart before opening them.
function tellingFacts(table) {
  const captions = DATA.tables.filter((one) => one.title === table.title).map((one) => sentences(one.caption));
  return sentences(table.caption).filter((fact) => !captions.every((caption) => caption.includes(fact))).join(' ');
}

// A table is drawn when it is opened: a page of a hundred tables still loads at once.
function tableSection(table, open) {
  const count = el('span', { class: 'count' }, plural(table.cells.length, 'line'));
  const title = el('h3', {}, table.title);
  const facts = el('span', { class: 'telling' }, tellingFacts(table));
  const node = el('details', { class: 'table', open }, el('summary', {}, title, count, facts));
  let drawn = false;
  const draw = () => {
    if (drawn || !node.open) return;
    drawn = true;
    node.append(tableGrid(table).node);
    if (table.notes.length) node.append(el('ul', { class: 'notes' }, ...table.notes.map((note) => el('li', {}, ...withCode(note)))));
  };
  node.addEventListener('toggle', draw);
  draw();
  return node;
}

function drawTables() {
  if (!DATA.tables.length) return;
  byId('tables').hidden = false;
  byId('tables-list').append(...DATA.tables.map((table, index) => tableSection(table, index === 0)));
}
