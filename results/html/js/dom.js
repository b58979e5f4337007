const DATA = JSON.parse(document.getElementById('data').textContent);
const GROUPED = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
let fieldCount = 0;

// All text of rows goes through textContent or setAttribute: it is never read as markup.
function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === 'class') node.className = value ?? '';
    else if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, '');
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

function byId(id) {
  return document.getElementById(id);
}

function say(text) {
  byId('said').textContent = text;
}

function formatNumber(value) {
  if (typeof value !== 'number') return value == null ? '-' : String(value);
  const size = Math.abs(value);
  if (Number.isInteger(value)) return size >= 10000 ? GROUPED.format(value) : String(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2);
  return size >= 1000 ? GROUPED.format(value) : String(Number(value.toPrecision(4)));
}

function plural(count, word) {
  return `${GROUPED.format(count)} ${word}${count === 1 ? '' : 's'}`;
}

function unique(values) {
  return [...new Set(values)];
}

function metricLabel(name) {
  return DATA.metrics[name] ?? name;
}

// `choices`: texts, or [value, text] pairs.
function selectField(label, choices, chosen, onchange) {
  const id = `field-${++fieldCount}`;
  const select = el('select', { id, onchange: () => onchange(select.value) });
  for (const choice of choices) {
    const [value, text] = Array.isArray(choice) ? choice : [choice, choice];
    select.append(el('option', { value }, text));
  }
  if (chosen != null) select.value = chosen;
  return el('div', { class: 'field' }, el('label', { for: id }, label), select);
}

function checkField(label, checked, onchange, ...marks) {
  const box = el('input', { type: 'checkbox', onchange: () => onchange(box.checked) });
  box.checked = checked;
  return el('label', { class: 'check' }, box, ...marks, label);
}
