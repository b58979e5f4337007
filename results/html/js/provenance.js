const TIP = byId('tip');
const RECORD = byId('record');
const SHOWN_AT_ONCE = 3;
let tipOwner = null;
let hideTimer = 0;

function facts(pairs) {
  const list = el('dl');
  for (const [name, value] of pairs) {
    if (value == null || value === '') continue;
    list.append(el('dt', {}, name), el('dd', {}, String(value)));
  }
  return list;
}

function rowFacts(row) {
  const provenance = DATA.provenances[row.provenance];
  return [
    ['Row', `${row.key} · ${row.suite} · ${row.label}`],
    ['Status', row.status === 'ok' ? null : row.status],
    ['Error', row.error],
    ['Device', row.device],
    ['Commit', provenance.short.commit],
    ['Versions', provenance.short.versions],
    ['Date', dateText(row)],
  ];
}

function dateText(row) {
  return row.created ? `${row.created.slice(0, 19).replace('T', ' ')} UTC` : 'unknown';
}

// `sources`: places of rows, and citations as text.
function tipContent(sources) {
  const box = el('div');
  for (const source of sources.slice(0, SHOWN_AT_ONCE)) {
    box.append(facts(typeof source === 'number' ? rowFacts(DATA.rows[source]) : [['Published', source]]));
  }
  if (sources.length > SHOWN_AT_ONCE) {
    box.append(el('p', {}, `and ${sources.length - SHOWN_AT_ONCE} more; Enter or a click shows all`));
  }
  return box;
}

function showTip(owner, sources) {
  clearTimeout(hideTimer);
  if (tipOwner && tipOwner !== owner) tipOwner.removeAttribute('aria-describedby');
  tipOwner = owner;
  TIP.replaceChildren(tipContent(sources));
  TIP.hidden = false;
  owner.setAttribute('aria-describedby', 'tip');
  placeTip();
}

function placeTip() {
  const at = tipOwner.getBoundingClientRect();
  const size = TIP.getBoundingClientRect();
  const below = at.bottom + 6 + size.height < window.innerHeight;
  TIP.style.top = `${Math.max(4, below ? at.bottom + 6 : at.top - size.height - 6)}px`;
  TIP.style.left = `${Math.max(4, Math.min(at.left, document.documentElement.clientWidth - size.width - 8))}px`;
}

// The box follows its value, also where the keyboard has scrolled it into view.
function followOwner(event) {
  if (TIP.hidden || event.target === TIP) return;
  const { top, bottom } = tipOwner.getBoundingClientRect();
  if (bottom < 0 || top > window.innerHeight) hideTip();
  else placeTip();
}

function hideTip() {
  clearTimeout(hideTimer);
  TIP.hidden = true;
  tipOwner?.removeAttribute('aria-describedby');
  tipOwner = null;
}

// The box stays while the pointer is on it, so that its text can be read and copied.
function hideTipSoon() {
  clearTimeout(hideTimer);
  hideTimer = setTimeout(hideTip, 200);
}

TIP.addEventListener('pointerenter', () => clearTimeout(hideTimer));
TIP.addEventListener('pointerleave', hideTipSoon);
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && !TIP.hidden) hideTip();
});
window.addEventListener('scroll', followOwner, { passive: true, capture: true });

function valueButton(content, sources) {
  const button = el('button', { type: 'button', class: 'value', tabindex: '-1' }, ...[content].flat());
  button.addEventListener('pointerenter', (event) => event.pointerType === 'mouse' && showTip(button, sources));
  button.addEventListener('pointerleave', hideTipSoon);
  button.addEventListener('focus', () => showTip(button, sources));
  button.addEventListener('blur', hideTip);
  button.addEventListener('click', () => openRecord(sources));
  return button;
}

function tree(value) {
  if (Array.isArray(value) && value.every((item) => typeof item !== 'object')) return value.join(', ') || '-';
  if (value == null || typeof value !== 'object') return value == null ? '-' : String(value);
  const list = el('dl');
  for (const [name, item] of Object.entries(value)) list.append(el('dt', {}, name), el('dd', {}, tree(item)));
  return list;
}

function recordPart(title, value, open) {
  if (!value || !Object.keys(value).length) return null;
  return el('details', { open }, el('summary', {}, title), tree(value));
}

function recordOf(source) {
  if (typeof source !== 'number') return el('article', {}, facts([['Published', source]]));
  const row = DATA.rows[source];
  const metrics = Object.fromEntries(Object.entries(row.metrics).map(([name, value]) => [metricLabel(name), value]));
  return el(
    'article',
    {},
    el('h3', {}, `${row.suite}: ${row.label}`),
    facts(rowFacts(row)),
    recordPart('What was measured', row.params, true),
    recordPart('Metrics, all digits', metrics, true),
    recordPart('Facts of the run', row.run, false),
    recordPart('Machine and versions', DATA.provenances[row.provenance].facts, false),
  );
}

function openRecord(sources) {
  hideTip();
  const close = el('button', { type: 'button', class: 'plain', onclick: () => RECORD.close() }, 'Close');
  const title = el('h2', { id: 'record-title' }, sources.length > 1 ? `${sources.length} sources` : 'Where this comes from');
  RECORD.replaceChildren(el('div', { class: 'record-head' }, title, close), ...sources.map(recordOf));
  RECORD.showModal();
  RECORD.scrollTop = 0;
}

RECORD.addEventListener('click', (event) => {
  if (event.target === RECORD) RECORD.close();
});
