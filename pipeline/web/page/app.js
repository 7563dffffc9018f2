// The page: takes pictures, asks the models, shows what they see.
import { colour, paint } from './colour.js';
import { Model, probabilities, top } from './models.js';
import { crop, decode, tensor } from './picture.js';

const $ = (id) => document.getElementById(id);
const PREDICTED = -1;

const columns = []; // of the models: {model, settings, figure}
let current; // the picture that is shown: {name, url, size, thumbnail, seen by each model, found by class}
let target = PREDICTED; // the class that is explained

const percent = (p) => (p >= 0.0995 ? `${(100 * p).toFixed(0)} %` : `${(100 * p).toFixed(1)} %`);
const nameOf = (c) => columns[0].settings.names?.[c] || `class ${c}`;

function say(text) {
  $('status').textContent = text;
}

function fail(what, error) {
  $('error').textContent = `${what}: ${error.message}.`;
  $('error').hidden = false;
}

function element(name, properties, ...children) {
  const e = Object.assign(document.createElement(name), properties);
  e.append(...children);
  return e;
}

/** start loads the models, one after the other, and gets the page ready. */
async function start() {
  say('Loading the models …');
  const answer = await fetch('models.json');
  if (!answer.ok) throw new Error(`models.json can’t be loaded (${answer.status}): write the folder again by relevit web`);
  const { models } = await answer.json();
  $('progress').hidden = false;
  for (const settings of models) {
    const model = new Model(settings);
    await model.load((loaded, bytes) => {
      Object.assign($('progress'), { max: bytes, value: loaded });
      say(loaded < bytes ? `Loading ${settings.source} (${(bytes / 1e6).toFixed(0)} MB) …` : `Preparing ${settings.source} …`);
    });
    columns.push({ model, settings, figure: addColumn(settings) });
  }
  $('progress').hidden = true;
  $('columns').classList.toggle('pair', columns.length > 1);
  $('classes').append(...Array.from({ length: columns[0].settings.classes }, (_, c) => element('option', { value: nameOf(c) })));
  paint($('legend').querySelector('canvas'), 120, 1, (x) => colour(x / 119));
  for (const { title, source, preprocess, model, data } of models) {
    $('facts').append(element('dt', { textContent: title }), element('dd', {},
      `${source}, ${preprocess.input_size.slice(1).join('×')} pixels, ${preprocess.interpolation}`,
      ...[model, data].filter(Boolean).flatMap((f) => [element('br'), `${f.name}: SHA-256 ${f.sha256}`])));
  }
  $('opacity').oninput();
  say('Ready.');
}

function addColumn({ title, source }) {
  const figure = $('column').content.firstElementChild.cloneNode(true);
  figure.querySelector('h2').append(title, element('small', { textContent: source }));
  $('columns').append(figure);
  return figure;
}

/** take shows the first of the files, and explains all of them in order. */
async function take(files) {
  $('results').ariaBusy = 'true';
  if (!(await ready)) return;
  $('error').hidden = true;
  const added = [];
  let broken; // the last file that is no picture
  for (const file of files) {
    const name = file.name || 'the pasted picture';
    try {
      const whole = await decode(file);
      const seen = new Map(columns.map(({ model, settings }) => [model, crop(whole, settings.preprocess)]));
      added.push({ name, url: URL.createObjectURL(file), size: `${whole.width}×${whole.height}`, seen, found: new Map() });
    } catch (error) {
      broken = [name, error];
    }
  }
  if (broken) fail(...broken);
  if (added.length === 0) {
    $('results').ariaBusy = 'false';
    return;
  }
  document.body.classList.add('used');
  $('results').hidden = false;
  for (const picture of added) addThumbnail(picture);
  await show(added[0]);
  if (broken) fail(...broken); // show began anew
  for (const picture of added) {
    for (const column of columns) await explain(column, picture, PREDICTED).catch(() => {}); // show says it
  }
}

function addThumbnail(picture) {
  const button = element('button', { type: 'button', ariaLabel: picture.name, ariaPressed: 'false', onclick: () => show(picture) },
    element('img', { src: picture.url, alt: '' }));
  picture.thumbnail = button;
  $('strip').append(button);
  $('strip').hidden = $('strip').childElementCount < 2;
}

/** explain gives what a model finds in a picture, and computes it once:
 * {p, order, target, map, seconds}. */
function explain(column, picture, target) {
  const { model, settings } = column;
  const key = `${settings.title} ${target}`;
  if (!picture.found.has(key)) {
    const asked = model.explain([tensor(picture.seen.get(model), settings.preprocess)], [target]);
    picture.found.set(key, asked.then(({ logits, maps, seconds }) => {
      const p = probabilities(logits);
      const order = top(p, 5);
      return { p, order, target: target === PREDICTED ? order[0] : target, map: maps, seconds };
    }));
  }
  return picture.found.get(key);
}

/** show explains the target class of a picture by every model. */
async function show(picture, shown = target) {
  current = picture;
  target = shown;
  const stale = () => current !== picture || target !== shown;
  $('error').hidden = true;
  for (const button of $('strip').children) button.ariaPressed = String(button === picture.thumbnail);
  $('picture').src = picture.url;
  $('original').querySelector('figcaption').textContent = `${picture.name}, ${picture.size}`;
  $('predicted').hidden = target === PREDICTED;
  $('class').value = target === PREDICTED ? '' : nameOf(target);
  $('results').ariaBusy = 'true';
  say(`Looking at ${picture.name} …`);
  const lines = [];
  for (const column of columns) column.figure.classList.add('busy');
  for (const column of columns) {
    try {
      const found = await explain(column, picture, shown);
      if (stale()) return;
      draw(column, picture, found);
      lines.push(`${column.settings.title}: ${nameOf(found.order[0])}, ${percent(found.p[found.order[0]])}`);
    } catch (error) {
      if (stale()) return;
      fail(column.settings.source, error);
    }
    column.figure.classList.remove('busy');
  }
  $('results').ariaBusy = 'false';
  say(lines.join('; '));
}

/** draw fills a model's column. */
function draw(column, picture, { p, order, target, map, seconds }) {
  const { model, settings, figure } = column;
  const { width, height, pixels } = picture.seen.get(model);
  paint(figure.querySelector('.crop'), width, height, (i) => pixels.subarray(3 * i, 3 * i + 3));
  const canvas = figure.querySelector('.map');
  paint(canvas, width, height, (i) => colour(map[i]));
  canvas.role = 'img';
  canvas.ariaLabel = `Relevance for ${nameOf(target)} by ${settings.title}, over the picture`;
  const flat = !map.some((v) => v > 0);
  figure.querySelector('figcaption').replaceChildren('relevance for ', element('strong', { textContent: nameOf(target) }),
    flat ? ': the same everywhere' : element('span', { textContent: ` in ${seconds.toFixed(2)} s` }));
  const listed = order.includes(target) ? order : [...order, target];
  const list = figure.querySelector('ol');
  const focused = list.contains(document.activeElement);
  list.replaceChildren(...listed.map((c) => {
    const button = element('button', { type: 'button', ariaPressed: String(c === target), onclick: () => show(current, c) },
      element('span', { textContent: nameOf(c) }), element('span', { className: 'share', textContent: percent(p[c]) }));
    button.style.setProperty('--share', percent(p[c]).replace(' ', ''));
    return element('li', {}, button);
  }));
  if (focused) list.querySelector('[aria-pressed=true]').focus();
}

/** classOf reads a class by name or number; -1 if it is none. */
function classOf(text) {
  const { classes } = columns[0].settings;
  for (let c = 0; c < classes; c++) if (nameOf(c) === text || String(c) === text) return c;
  return -1;
}

$('chooser').onsubmit = (event) => {
  event.preventDefault();
  const text = $('class').value.trim();
  const c = text === '' ? PREDICTED : classOf(text);
  if (text !== '' && c < 0) fail(`“${text}”`, new Error('the models have no class of that name or number'));
  else if (current) show(current, c);
  $('class').select();
};
$('chooser').onreset = () => current && show(current, PREDICTED);

$('class').onfocus = () => $('class').select(); // a list of suggestions shows only what fits the text

$('opacity').oninput = () => document.querySelectorAll('.map').forEach((m) => (m.style.opacity = $('opacity').value / 100));
$('files').onchange = () => {
  take([...$('files').files]);
  $('files').value = ''; // so that the same file can be chosen again
};

const pictures = (transfer) => [...(transfer?.files ?? [])];
document.ondragover = (event) => {
  event.preventDefault();
  $('drop').classList.add('over');
};
document.ondragleave = (event) => event.relatedTarget === null && $('drop').classList.remove('over');
document.ondrop = (event) => {
  event.preventDefault();
  $('drop').classList.remove('over');
  take(pictures(event.dataTransfer));
};
document.onpaste = (event) => {
  const files = pictures(event.clipboardData);
  if (files.length > 0) take(files);
};

const ready = start().then(() => true, (error) => {
  $('progress').hidden = true;
  say('');
  fail('The page can’t start', error);
  return false;
});
