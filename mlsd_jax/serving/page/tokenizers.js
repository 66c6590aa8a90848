// One text, split by every tokenizer.

import {post} from './api.js';
import {byId, count, el, latest, pieceNode, say} from './dom.js';

const SHOWN = 200;  // tokens of each, as chips
const WAIT = 250;  // milliseconds without a key before the text is sent

const next = latest();
let timer = null;
let models = [];
let isFresh = false;

export function begin(served) {
  models = served;
  byId('tokenizers-text').addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(compare, WAIT);
  });
}

export function enter() {
  if (!isFresh) compare();
}

async function compare() {
  isFresh = true;
  const isLatest = next();
  const text = byId('tokenizers-text').value;
  const bytes = new TextEncoder().encode(text).length;
  const cards = await Promise.all(models.map((model) => card(model, text, bytes)));
  if (!isLatest()) return;
  byId('tokenizers-out').replaceChildren(...cards);
  say('tokenizers-status', `${count(bytes, 'byte')}, ${count([...text].length, 'character')}, ${count(models.length, 'tokenizer')}`);
}

async function card(model, text, bytes) {
  const node = el('article', {class: 'card', 'aria-label': model.id},
    el('h3', {}, model.id));
  try {
    const told = await post('v1/tokenize', {model: model.id, text, pieces: true});
    const chips = told.pieces.slice(0, SHOWN).map((piece, i) => el('li', {},
      el('code', {}, pieceNode(piece)), el('span', {class: 'id'}, String(told.tokens[i]))));
    node.append(
      el('p', {}, el('strong', {}, count(told.count, 'token')),
        told.count ? `, ${(bytes / told.count).toFixed(2)} bytes a token` : ''),
      el('p', {class: 'muted'}, `of ${model.vocab_size.toLocaleString('en')} that it knows`),
      el('ol', {class: 'chips', 'aria-label': `Tokens of ${model.id}, each with its id`}, ...chips));
    if (told.count > SHOWN) node.append(el('p', {class: 'muted'}, `and ${count(told.count - SHOWN, 'token')} more`));
  } catch (error) {
    node.append(el('p', {class: 'alert'}, error.message));
  }
  return node;
}
