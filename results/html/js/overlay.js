// The colours of the figures: predictions orange, the truth blue.
const MASK_COLORS = { prediction: '#D55E00', truth: '#0072B2' };
// Drawn larger than the picture is, so that the edges of masks stay sharp when zoomed.
const OVERSAMPLING = 3;

async function loadImage(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return image;
}

// The picture in grey outside the mask, and tinted inside it.
function paintMask(context, picture, mask, color, [width, height]) {
  const inside = new OffscreenCanvas(width, height).getContext('2d');
  inside.drawImage(picture, 0, 0, width, height);
  inside.globalAlpha = 0.55;
  inside.fillStyle = color;
  inside.fillRect(0, 0, width, height);
  inside.globalAlpha = 1;
  inside.globalCompositeOperation = 'destination-in';
  inside.imageSmoothingEnabled = false;
  inside.drawImage(mask, 0, 0, width, height);
  for (const [operation, paint] of [['saturation', '#000'], ['multiply', '#999']]) {
    context.globalCompositeOperation = operation;
    context.fillStyle = paint;
    context.fillRect(0, 0, width, height);
  }
  context.globalCompositeOperation = 'source-over';
  context.drawImage(inside.canvas, 0, 0);
}

function paintBox(context, [x0, y0, x1, y1]) {
  context.lineWidth = 1.5 * OVERSAMPLING;
  context.strokeStyle = '#E69F00';
  context.strokeRect(...[x0, y0, x1 - x0, y1 - y0].map((value) => value * OVERSAMPLING));
}

// One part of a picture that rows hold predictions of: `kind` image, box, prediction or truth.
function overlaid(picture, kind, mask, label) {
  const size = [picture.width * OVERSAMPLING, picture.height * OVERSAMPLING];
  const canvas = el('canvas', { width: size[0], height: size[1], role: 'img', 'aria-label': label });
  const context = canvas.getContext('2d');
  const paint = async () => {
    const [image, shape] = await Promise.all([loadImage(picture.src), mask && loadImage(mask)]);
    context.drawImage(image, 0, 0, ...size);
    if (shape) paintMask(context, image, shape, MASK_COLORS[kind], size);
    if (kind === 'box') paintBox(context, picture.box);
  };
  paint().catch(() => {
    canvas.replaceWith(el('p', { class: 'notice' }, `This picture is not there: ${picture.src.slice(0, 100)}`));
  });
  return canvas;
}

function overlaidPicture(picture) {
  const part = (name, kind, mask) => ({ name, draw: () => overlaid(picture, kind, mask, `${name}: ${picture.title}`) });
  const parts = [part('image', 'image'), part('box', 'box'), part('truth', 'truth', picture.truth)];
  for (const { row, mask } of picture.predictions) parts.push(part(DATA.rows[row].label, 'prediction', mask));
  return { title: picture.title, width: picture.width, height: picture.height, parts, left: 3, right: 2 };
}
