const THEME_KEY = 'linbench-theme';
const prefersDark = window.matchMedia('(prefers-color-scheme: dark)');

// Storage may be forbidden where the page is opened; then the choice holds until it is closed.
function storedTheme() {
  try {
    return localStorage.getItem(THEME_KEY);
  } catch {
    return null;
  }
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId('theme').setAttribute('aria-pressed', String(theme === 'dark'));
}

function drawSummary() {
  const count = (name) => unique(DATA.rows.map((row) => row[name]));
  if (!DATA.rows.length) {
    byId('summary').append(...withCode('There is no row yet. `bench latency` and `bench run sam-hq` measure some.'));
    return;
  }
  const bad = DATA.rows.filter((row) => !['ok', 'unstable'].includes(row.status)).length;
  const parts = [`${plural(DATA.rows.length, 'row')} of ${count('suite').sort().join(', ')}`, plural(count('backbone').length, 'subject'), `measured on ${count('device').sort().join('; ')}`];
  byId('summary').textContent = `${parts.join(', ')}.${bad ? ` ${plural(bad, 'row')} without a number: each says why.` : ''}`;
}

function drawProblems() {
  if (!DATA.problems.length) return;
  const list = el('ul', {}, ...DATA.problems.map((text) => el('li', {}, text)));
  const head = `Left out, since it could not be used: ${plural(DATA.problems.length, 'file or row')}`.replace('file or rows', 'files or rows');
  byId('problems').append(el('details', { class: 'notice', open: DATA.problems.length <= 5 }, el('summary', {}, head), list));
}

function drawSections() {
  for (const section of document.querySelectorAll('main > section')) {
    if (!section.hidden) byId('sections').append(el('a', { href: `#${section.id}` }, section.dataset.name ?? section.querySelector('h2').textContent));
  }
}

setTheme(storedTheme() ?? (prefersDark.matches ? 'dark' : 'light'));
drawSummary();
drawProblems();
drawTables();
drawRows();
drawGallery();
const charts = [drawLatency(), drawTradeoff()].filter(Boolean);
drawSections();

function changeTheme(theme) {
  setTheme(theme);
  for (const chart of charts) chart.recolour();
}

byId('theme').addEventListener('click', () => {
  const theme = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
  try {
    localStorage.setItem(THEME_KEY, theme);
  } catch {
    say('This browser keeps no choice for this page.');
  }
  changeTheme(theme);
});
prefersDark.addEventListener('change', () => storedTheme() ?? changeTheme(prefersDark.matches ? 'dark' : 'light'));
