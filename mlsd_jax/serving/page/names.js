// Names that a model makes up, and what each letter costs it.

import {post} from './api.js';
import {alertIn, bar, byId, choose, count, el, latest, say} from './dom.js';

const next = latest();
let models = [];
let isFresh = false;

export function begin(served) {
  models = served;
  choose(byId('names-model'), models.map((each) => each.id));
  byId('names-model').addEventListener('change', rungs);
  rungs();
  byId('names-form').addEventListener('submit', (event) => {
    event.preventDefault();
    show({number: Number(byId('names-number').value), seed: Number(byId('names-seed').value)});
  });
  byId('names-score').addEventListener('submit', (event) => {
    event.preventDefault();
    show({words: byId('names-words').value.split(',').map((each) => each.trim()).filter(Boolean)});
  });
}

export function enter() {
  if (!isFresh) byId('names-form').requestSubmit();
}

function rungs() {
  const model = models.find((each) => each.id === byId('names-model').value);
  choose(byId('names-rung'), model.rungs);
  byId('names-rung').value = model.rungs.at(-1);
}

async function show(body) {
  isFresh = true;
  const isLatest = next();
  alertIn('names-error', '');
  try {
    const told = await post('v1/names', {...body, model: byId('names-model').value, rung: byId('names-rung').value});
    if (!isLatest()) return;
    byId('names-out').replaceChildren(...told.words.map(card));
    const fresh = told.words.filter((each) => each.is_new).length;
    say('names-status', `${count(told.words.length, 'name')}, ${fresh} of them not among the names it was trained on`);
  } catch (error) {
    if (!isLatest()) return;
    byId('names-out').replaceChildren();
    say('names-status', '');
    alertIn('names-error', error.message);
  }
}

// A letter's column has room for three characters.
const whole = (share) => (share < 0.005 ? '<1%' : `${Math.round(100 * share)}%`);

function card({word, nats, is_new: isNew, letters}) {
  const cells = letters.map(({letter, nats: cost}) => el('li', {},
    bar(Math.exp(-cost), 'column'), letter ? el('code', {}, letter) : el('span', {class: 'end'}, 'end'),
    whole(Math.exp(-cost))));
  return el('li', {class: 'card'},
    el('div', {class: 'word'}, el('strong', {}, word || '(empty)'),
      el('span', {class: isNew ? 'tag new' : 'tag'}, isNew ? 'new' : 'in the training names'),
      el('span', {class: 'muted'}, `${(nats / letters.length).toFixed(2)} nats a letter`)),
    el('ol', {class: 'letters', 'aria-label': `Letters of ${word} with their probability`}, ...cells));
}
