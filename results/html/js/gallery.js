const SHEET_PARTS = ['image', 'box', 'prediction', 'truth'];
const LARGEST_ZOOM = 6;

function rangeField(label, attributes, oninput) {
  const id = `field-${++fieldCount}`;
  const input = el('input', { type: 'range', id, ...attributes });
  input.addEventListener('input', () => oninput(Number(input.value), input));
  return el('div', { class: 'field wide' }, el('label', { for: id }, label), input);
}

// The part of a contact sheet that lies at `place`, filling its layer.
function crop(sheet, place, alt) {
  // Without the outermost pixel, which is half the sheet's paper.
  const [x, y, width, height] = [place[0] + 1, place[1] + 1, place[2] - 2, place[3] - 2];
  const image = el('img', { src: sheet.src, alt, draggable: 'false' });
  image.style.width = `${(100 * sheet.width) / width}%`;
  image.style.left = `${(-100 * x) / width}%`;
  image.style.top = `${(-100 * y) / height}%`;
  return image;
}

function zoomed(content, ratio, label) {
  const stage = el('div', { class: 'stage' }, ...content);
  stage.style.aspectRatio = ratio;
  const frame = el('div', { class: 'frame', tabindex: '0', role: 'region', 'aria-label': label }, stage);
  const zoom = rangeField('Zoom', { min: '1', max: String(LARGEST_ZOOM), step: '0.25', value: '1' }, (value, input) => {
    input.setAttribute('aria-valuetext', `${value} times`);
    // What is in the middle stays there.
    const [x, y] = [frame.scrollLeft + frame.clientWidth / 2, frame.scrollTop + frame.clientHeight / 2];
    const before = stage.clientWidth;
    stage.style.width = `${100 * value}%`;
    const grown = stage.clientWidth / before;
    frame.scrollTo(x * grown - frame.clientWidth / 2, y * grown - frame.clientHeight / 2);
  });
  return { stage, frame, zoom };
}

// `picture`: {title, width, height, parts: [{name, draw}], left, right}, where `draw` makes what fills a layer.
function compareView(picture) {
  const chosen = { left: picture.left, right: picture.right };
  const layers = { left: el('div', { class: 'layer' }), right: el('div', { class: 'layer' }) };
  const handle = el('div', { class: 'handle', 'aria-hidden': 'true' });
  const label = `Pictures of ${picture.title}, scrolls when zoomed`;
  const { frame, stage, zoom } = zoomed([layers.left, layers.right, handle], `${picture.width} / ${picture.height}`, label);
  frame.classList.add('compare');
  frame.style.setProperty('--ratio', picture.width / picture.height);
  const name = (side) => picture.parts[chosen[side]].name;
  const slider = rangeField('Slide', { min: '0', max: '100', value: '50' }, (value, input) => {
    input.setAttribute('aria-valuetext', `${name('left')} on the left ${value} %, ${name('right')} on the right`);
    stage.style.setProperty('--cut', `${value}%`);
  });
  const fill = (side) => layers[side].replaceChildren(picture.parts[chosen[side]].draw());
  const names = picture.parts.map((part, index) => [String(index), part.name]);
  const sides = [['left', 'Left'], ['right', 'Right']].map(([side, title]) => {
    const pick = (index) => {
      chosen[side] = Number(index);
      fill(side);
    };
    fill(side);
    return selectField(title, names, String(chosen[side]), pick);
  });
  return el('figure', {}, frame, el('div', { class: 'controls' }, slider, zoom, ...sides), el('figcaption', {}, picture.title));
}

function sheetView(sheet) {
  const image = el('img', { src: sheet.src, alt: `Contact sheet ${sheet.name}: image, box, prediction and truth`, class: 'whole' });
  const { frame, zoom } = zoomed([image], `${sheet.width} / ${sheet.height}`, `Contact sheet ${sheet.name}, scrolls`);
  const why = 'This sheet does not say where its pictures lie, so that it is shown whole.';
  return el('figure', {}, frame, el('div', { class: 'controls' }, zoom), el('figcaption', {}, why));
}

function sheetPicture(sheet, line) {
  const parts = SHEET_PARTS.map((name) => ({ name, draw: () => crop(sheet, line[name], `${name}: ${line.title}`) }));
  return { title: line.title, width: line.image[2], height: line.image[3], parts, left: 2, right: 3 };
}

// What the reader chooses from: pictures of several systems first, then the contact sheets.
function gallerySources() {
  const sources = DATA.gallery.map((sheet) => ({
    name: `contact sheet ${sheet.name}`,
    linked: sheet.src && !sheet.src.startsWith('data:') && 'figures/',
    titles: (sheet.lines ?? []).map((line) => line.title),
    show: (index) => {
      if (sheet.problem) return el('p', { class: 'notice' }, sheet.problem);
      return sheet.lines.length ? compareView(sheetPicture(sheet, sheet.lines[index])) : sheetView(sheet);
    },
  }));
  if (!DATA.pictures.length) return sources;
  const linked = DATA.pictures.some((picture) => !picture.src.startsWith('data:')) && 'tiles/';
  const titles = DATA.pictures.map((picture) => picture.title);
  return [{ name: 'all systems, image by image', linked, titles, show: (index) => comparedView(DATA.pictures[index]) }, ...sources];
}

function comparedView(picture) {
  const figure = compareView(overlaidPicture(picture));
  const names = ['system', 'mask IoU', 'boundary IoU'].map((name) => ({ group: '', name }));
  const lines = picture.predictions.map(({ row, iou, biou }) => {
    const values = [iou, biou].map((value) => ({ text: value.toFixed(3), key: value, sources: [row] }));
    return { cells: [{ text: DATA.rows[row].label }, ...values] };
  });
  figure.append(new Grid({ caption: `Scores of ${picture.title}`, columns: names, lines }).node);
  return figure;
}

function drawGallery() {
  const sources = gallerySources();
  if (!sources.length) return;
  byId('gallery').hidden = false;
  const [view, controls] = [byId('gallery-view'), byId('gallery-controls')];
  const choices = (names) => names.map((name, index) => [String(index), name]);
  const pick = (place, index) => {
    const source = sources[place];
    const turn = (name, to, off) => el('button', { type: 'button', class: 'plain', disabled: off, onclick: () => pick(place, to) }, name);
    const parts = [selectField('Show', choices(sources.map((one) => one.name)), String(place), (value) => pick(Number(value), 0))];
    if (source.titles.length) {
      parts.push(selectField('Picture', choices(source.titles), String(index), (value) => pick(place, Number(value))));
      parts.push(turn('Previous', index - 1, index === 0), turn('Next', index + 1, index === source.titles.length - 1));
    }
    const focused = [...controls.querySelectorAll('select, button')].indexOf(document.activeElement);
    controls.replaceChildren(...parts);
    if (focused >= 0) controls.querySelectorAll('select, button')[focused]?.focus();
    view.replaceChildren(source.show(index));
    if (source.linked) view.append(el('p', { class: 'note' }, `Pictures of this kind are not inside the page: keep ${source.linked} beside it.`));
  };
  pick(0, 0);
}
