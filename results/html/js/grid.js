const PAGE_SIZES = [50, 200];
const MISSING = new Set(['', '-']);

// What a cell sorts by: its leading number, else its text; nothing for a dash.
function sortKey(text) {
  if (MISSING.has(text)) return null;
  const found = /^[+-]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?/i.exec(text);
  return found ? Number(found[0].replaceAll(',', '')) : text;
}

// Numbers before text, and what is missing last, whichever the direction.
function compareKeys(first, second, direction) {
  if (first === null || second === null) return (first === null) - (second === null);
  const numbers = [typeof first === 'number', typeof second === 'number'];
  if (numbers[0] !== numbers[1]) return numbers[1] - numbers[0];
  const order = numbers[0] ? first - second : first.localeCompare(second, 'en', { numeric: true });
  return direction * order;
}

// A table that sorts, filters and shows a page of its lines at a time.
// `columns`: [{group, name}]; `lines`: [{cells: [{text, key?, content?, sources?}]}]; `extra`: fields beside the filter.
class Grid {
  constructor({ caption, columns, lines, extra = [] }) {
    this.columns = columns;
    this.lines = lines.map((line, index) => ({ ...line, index }));
    this.sorted = { column: -1, direction: 1 };
    this.words = [];
    this.wordy = columns.map((_, column) => this.isWordy(column));
    this.size = PAGE_SIZES[0];
    this.start = 0;
    this.heads = columns.map((column, index) => this.head(column, index));
    this.body = el('tbody', { onkeydown: (event) => this.move(event) });
    this.count = el('p', { class: 'count', role: 'status' });
    this.pager = el('div', { class: 'pager' });
    const table = el('table', {}, el('caption', {}, caption), this.headRows(), this.body);
    const scroller = el('div', { class: 'scroller', tabindex: '0', role: 'region', 'aria-label': `${caption}, scrolls` }, table);
    const bar = el('div', { class: 'controls' }, this.filterField(), ...extra, this.count);
    this.node = el('div', { class: 'grid' }, bar, scroller, this.pager);
    this.draw();
  }

  filterField() {
    const id = `field-${++fieldCount}`;
    const input = el('input', { type: 'search', id, autocomplete: 'off', placeholder: 'words, all must occur' });
    input.addEventListener('input', () => {
      this.words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      this.start = 0;
      this.draw();
    });
    return el('div', { class: 'field' }, el('label', { for: id }, 'Filter'), input);
  }

  // A column of names rather than of numbers: aligned to the left, and long texts are wrapped.
  isWordy(column) {
    const keys = this.lines.map((line) => this.key(line, column)).filter((key) => key !== null);
    return keys.length > 0 && keys.filter((key) => typeof key === 'string').length > keys.length / 2;
  }

  key(line, column) {
    const cell = line.cells[column];
    return cell.key === undefined ? sortKey(cell.text) : cell.key;
  }

  head(column, index) {
    const button = el('button', { type: 'button', onclick: () => this.sort(index) }, column.name);
    const label = column.group ? { 'aria-label': `${column.group} ${column.name}` } : {};
    for (const [name, value] of Object.entries(label)) button.setAttribute(name, value);
    return el('th', { scope: 'col', 'aria-sort': 'none', class: this.wordy[index] ? 'words' : null }, button);
  }

  headRows() {
    const rows = [el('tr', {}, ...this.heads)];
    if (this.columns.some((column) => column.group)) {
      const groups = el('tr');
      for (let start = 0, end; start < this.columns.length; start = end) {
        const { group } = this.columns[start];
        for (end = start + 1; end < this.columns.length && this.columns[end].group === group; end += 1);
        const span = { colspan: end - start };
        groups.append(group ? el('th', { scope: 'colgroup', class: 'group', ...span }, group) : el('td', { class: 'group', ...span }));
      }
      rows.unshift(groups);
    }
    return el('thead', {}, ...rows);
  }

  // First ascending, then descending, then the order of the report again.
  sort(column) {
    const { sorted } = this;
    if (sorted.column !== column) this.sorted = { column, direction: 1 };
    else this.sorted = sorted.direction === 1 ? { column, direction: -1 } : { column: -1, direction: 1 };
    const words = this.sorted.direction === 1 ? 'ascending' : 'descending';
    this.heads.forEach((head, index) => head.setAttribute('aria-sort', index === this.sorted.column ? words : 'none'));
    this.start = 0;
    this.draw();
    say(this.sorted.column < 0 ? 'Order of the report' : `Sorted by ${this.columns[column].name}, ${words}`);
  }

  shown() {
    const fits = (line) => {
      line.search ??= line.cells.map((cell) => cell.text).join(' ').toLowerCase();
      return this.words.every((word) => line.search.includes(word));
    };
    const lines = this.lines.filter(fits);
    const { column, direction } = this.sorted;
    if (column < 0) return lines;
    return lines.sort((a, b) => compareKeys(this.key(a, column), this.key(b, column), direction) || a.index - b.index);
  }

  draw() {
    hideTip();
    const lines = this.shown();
    const page = lines.slice(this.start, this.start + this.size);
    this.body.replaceChildren(...page.map((line) => this.line(line)));
    this.body.querySelector('.value')?.setAttribute('tabindex', '0');
    const all = this.lines.length;
    this.count.textContent = lines.length === all ? plural(all, 'line') : `${GROUPED.format(lines.length)} of ${plural(all, 'line')}`;
    this.drawPager(lines.length);
  }

  line(line) {
    const cells = line.cells.map((cell, index) => {
      const content = cell.sources?.length ? valueButton(cell.content ?? cell.text, cell.sources) : cell.content ?? cell.text;
      const attributes = index === 0 ? { scope: 'row' } : { class: this.wordy[index] ? 'words' : null };
      return el(index === 0 ? 'th' : 'td', attributes, ...[content].flat());
    });
    return el('tr', {}, ...cells);
  }

  drawPager(total) {
    if (total <= PAGE_SIZES[0]) {
      this.pager.replaceChildren();
      return;
    }
    const step = (by) => () => {
      this.start += by;
      this.draw();
      say(`Lines from ${this.start + 1}`);
    };
    const last = Math.min(this.start + this.size, total);
    const turn = (name, by, off) => el('button', { type: 'button', class: 'plain', disabled: off, onclick: step(by) }, name);
    const sizes = [...PAGE_SIZES.map((size) => [String(size), String(size)]), [String(total), 'all']];
    const resize = (value) => {
      this.size = Number(value);
      this.start = 0;
      this.draw();
    };
    this.pager.replaceChildren(
      turn('Previous', -this.size, this.start === 0),
      el('span', {}, `Lines ${this.start + 1} to ${last} of ${GROUPED.format(total)}`),
      turn('Next', this.size, last >= total),
      selectField('Lines a page', sizes, String(this.size), resize),
    );
  }

  // One stop of the Tab key for all values; the arrow keys move among them.
  move(event) {
    const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    const from = event.target.closest('.value');
    if (!steps || !from) return;
    event.preventDefault();
    const cell = from.closest('th, td');
    let [row, column] = [cell.parentNode.rowIndex - this.body.rows[0].rowIndex, cell.cellIndex];
    let to = null;
    do {
      row += steps[0];
      column += steps[1];
      to = this.body.rows[row]?.cells[column];
    } while (to && !to.querySelector('.value'));
    const button = to?.querySelector('.value');
    if (!button) return;
    from.setAttribute('tabindex', '-1');
    button.setAttribute('tabindex', '0');
    button.focus();
  }
}
