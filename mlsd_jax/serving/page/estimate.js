// What a decoder takes to train and to serve: the server's estimator, and bars of what bounds a step.

import {get, post} from './api.js';
import {alertIn, bar, byId, el, latest, say} from './dom.js';

const SIZES = {  // layers, heads, width
  'GPT-2 124M': [12, 12, 768], 'GPT-2 355M': [24, 16, 1024], 'GPT-2 774M': [36, 20, 1280], 'GPT-2 1.5B': [48, 25, 1600],
};
const NUMBERS = {
  layers: 'num_layers', heads: 'num_heads', width: 'embed_dim', context: 'context_length', vocab: 'vocab_size',
  batch: 'batch_size', steps: 'steps', fsdp: 'fsdp', qps: 'qps',
};
const STEPS = {training_step: 'A training step', decoding_step_alone: 'A decoding step of one request'};
const PARTS = {compute: 'compute', memory: 'memory', network: 'network', weights: 'memory: the weights', cache: 'memory: the cache'};

const next = latest();
let isFresh = false;

export function begin() {
  byId('estimate-size').replaceChildren(...Object.keys(SIZES).map((name) => el('option', {value: name}, name)),
    el('option', {value: ''}, 'other'));
  byId('estimate-size').addEventListener('change', (event) => {
    const chosen = SIZES[event.target.value];
    if (chosen) ['layers', 'heads', 'width'].forEach((name, i) => { byId(`estimate-${name}`).value = chosen[i]; });
  });
  for (const name of ['layers', 'heads', 'width']) {
    byId(`estimate-${name}`).addEventListener('input', () => { byId('estimate-size').value = ''; });
  }
  byId('estimate-form').addEventListener('submit', (event) => {
    event.preventDefault();
    compute();
  });
}

export async function enter() {
  if (isFresh) return;
  isFresh = true;
  try {
    const {hardware} = await get('v1/estimate');
    byId('estimate-device').replaceChildren(...Object.entries(hardware).map(([key, device]) =>
      el('option', {value: key}, `${device.name}, ${Math.round(device.memory / 1e9)} GB`)));
    await compute();
  } catch (error) {
    isFresh = false;
    alertIn('estimate-error', error.message);
  }
}

async function compute() {
  const isLatest = next();
  const number = (name) => Number(byId(`estimate-${name}`).value);
  const body = {
    ...Object.fromEntries(Object.entries(NUMBERS).map(([name, key]) => [key, number(name)])),
    mfu: number('mfu') / 100,
    remat: byId('estimate-remat').value,
    hardware: `${number('devices')}x${byId('estimate-device').value}`,
  };
  alertIn('estimate-error', '');
  try {
    const told = await post('v1/estimate', body);
    if (isLatest()) show(told);
  } catch (error) {
    if (!isLatest()) return;
    byId('estimate-out').replaceChildren();
    say('estimate-status', '');
    alertIn('estimate-error', error.message);
  }
}

function show({groups, bounds, misfit}) {
  const longest = Object.entries(bounds.training_step).reduce((a, b) => (b[1] > a[1] ? b : a));
  say('estimate-status', misfit ? 'It does not fit.' : `It fits; ${longest[0]} bounds a training step.`);
  byId('estimate-out').replaceChildren(
    ...(misfit ? [el('p', {class: 'notice'}, misfit)] : []),
    el('div', {class: 'card'}, el('h3', {}, 'What bounds a step'),
      el('p', {class: 'muted'}, 'What each part alone takes. The longest bounds the step, as the parts overlap at best.'),
      ...Object.entries(STEPS).map(([key, title]) => bars(title, bounds[key]))),
    ...groups.map(table));
}

function bars(title, parts) {
  const most = Math.max(...Object.values(parts));
  return el('div', {class: 'bounds'}, el('h4', {}, title),
    el('ul', {class: 'bars', 'aria-label': title}, ...Object.entries(parts).map(([name, seconds]) =>
      el('li', {class: seconds === most ? 'chosen' : null}, el('span', {}, PARTS[name] ?? name),
        el('span', {class: 'number'}, time(seconds)), bar(seconds / most)))));
}

function table({title, rows, notes}) {
  return el('div', {class: 'card'}, el('h3', {}, title),
    el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': title},
      el('table', {}, el('thead', {}, el('tr', {}, el('th', {scope: 'col'}, 'Quantity'),
        el('th', {scope: 'col', class: 'number'}, 'Value'), el('th', {scope: 'col'}, 'Formula'))),
      el('tbody', {}, ...rows.map((row) => el('tr', {}, el('th', {scope: 'row'}, row.name),
        el('td', {class: 'number'}, row.shown), el('td', {class: 'muted'}, row.formula)))))),
    ...notes.map((note) => el('p', {}, note)));
}

function time(seconds) {
  if (seconds >= 1) return `${seconds.toPrecision(3)} s`;
  return seconds >= 1e-3 ? `${(1e3 * seconds).toPrecision(3)} ms` : `${(1e6 * seconds).toPrecision(3)} µs`;
}
