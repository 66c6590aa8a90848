// Households, what they bought, what they may buy next, and a purchase that changes it.

import {get, post} from './api.js';
import {alertIn, bar, byId, choose, count, el, latest, percent, say} from './dom.js';

const USERS = 8;
const ITEMS = 10;
const PAST = 15;  // purchases shown
const WAIT = 200;

const nextUsers = latest();
const nextLists = latest();
let timer = null;
let user = null;
let before = null;  // ids that were recommended before the last purchase, in order
let isFresh = false;

export function begin(models) {
  choose(byId('recommend-model'), models.map((each) => each.id));
  byId('recommend-model').addEventListener('change', () => {
    byId('recommend-card').hidden = true;
    user = null;
    find();
  });
  byId('recommend-form').addEventListener('submit', (event) => {
    event.preventDefault();
    byId('recommend-users').querySelector('button')?.click();
  });
  byId('recommend-novel').addEventListener('change', () => user !== null && show());
  byId('recommend-query').addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(find, WAIT);
  });
}

export function enter() {
  if (!isFresh) find();
}

const model = () => byId('recommend-model').value;

async function find() {
  isFresh = true;
  const isLatest = nextUsers();
  const asked = new URLSearchParams({query: byId('recommend-query').value, limit: USERS, model: model()});
  try {
    const {users} = await get(`v1/users?${asked}`);
    if (!isLatest()) return;
    alertIn('recommend-error', '');
    byId('recommend-users').replaceChildren(...users.map((each) => el('li', {},
      el('button', {type: 'button', 'data-user': each.id, 'aria-pressed': String(each.id === user),
        onclick: () => pick(each.id)}, `${each.id} `, el('span', {class: 'muted'}, count(each.purchases, 'purchase'))))));
    if (!users.length) say('recommend-status', 'No household has such an id.');
    else if (user === null) say('recommend-status', '');
  } catch (error) {
    if (isLatest()) alertIn('recommend-error', error.message);
  }
}

async function pick(id) {
  user = id;
  before = null;
  for (const button of byId('recommend-users').querySelectorAll('button')) {
    button.setAttribute('aria-pressed', String(button.dataset.user === id));
  }
  await show();
}

async function show(bought = null) {
  const isLatest = nextLists();
  alertIn('recommend-error', '');
  try {
    const isNovel = byId('recommend-novel').checked;
    const [{items, answer}, {history}] = await Promise.all([
      post('v1/recommend', {user, model: model(), number: ITEMS, ...(isNovel ? {exclude_bought: true} : {})}),
      get(`v1/users/${encodeURIComponent(user)}?${new URLSearchParams({limit: PAST, model: model()})}`),
    ]);
    if (!isLatest()) return;
    const changes = bought ? changed(items) : new Map();
    byId('recommend-card').hidden = false;
    byId('recommend-items').replaceChildren(...items.map((each) => row(each, answer, changes.get(each.id))));
    byId('recommend-history').replaceChildren(...history.map((each, i) => past(each, bought !== null && i === 0)));
    say('recommend-status', bought ? told(bought, items, changes) : `Household ${user}: ${count(history.length, 'purchase')} shown, ${count(items.length, 'item')} recommended.`);
    before = items.map((each) => each.id);
  } catch (error) {
    if (isLatest()) alertIn('recommend-error', error.message);
  }
}

// Item -> places that it rose (negative: fell), or null where it is new on the list; without those that stayed.
function changed(items) {
  const moves = new Map();
  items.forEach(({id}, i) => {
    const was = before.indexOf(id);
    if (was < 0) moves.set(id, null);
    else if (was !== i) moves.set(id, was - i);
  });
  return moves;
}

function told(bought, items, changes) {
  const fresh = [...changes.values()].filter((each) => each === null).length;
  const moved = changes.size - fresh;
  const parts = [fresh && `${count(fresh, 'item')} new on the list`, moved && `${count(moved, 'item')} moved`].filter(Boolean);
  return `Bought ${bought}. ${parts.length ? `${parts.join(', ')}.` : 'The list stays as it was.'}`;
}

function row(item, answer, change) {
  const mark = change === undefined ? null : change === null ? 'new' : change > 0 ? `↑ ${change}` : `↓ ${-change}`;
  return el('li', {class: change === undefined ? null : 'changed'},
    el('span', {class: 'name'}, item.name || item.id, mark && ' ', mark && el('span', {class: 'tag new'}, mark)),
    el('span', {class: 'chance'}, percent(item.probability), el('span', {class: 'visually-hidden'}, ' chance')),
    el('span', {class: 'why'}, item.why),
    el('ul', {class: 'tags', 'aria-label': 'Found by'}, ...item.sources.split(', ').map((each) => el('li', {}, each.replace(/ (\d+)$/, ' #$1')))),
    el('button', {type: 'button', 'data-item': item.id, onclick: () => buy(item, answer)}, 'Buy', el('span', {class: 'visually-hidden'}, ` ${item.name || item.id}`)));
}

function past(event, isNew) {
  return el('li', {class: isNew ? 'changed' : null},
    el('span', {class: 'name'}, event.name || event.item), isNew ? el('span', {class: 'tag new'}, 'just bought') : null,
    el('span', {class: 'when'}, new Date(event.time).toLocaleDateString('en', {dateStyle: 'medium', timeZone: 'UTC'})));
}

async function buy(item, answer) {  // `answer` is the list that it was on: what was shown can then be judged
  try {
    await post('v1/events', {user, item: item.id, kind: 'purchase', answer, model: model()});
    await show(item.name || item.id);
    const buttons = [...byId('recommend-items').querySelectorAll('button')];  // the one that was pressed is gone
    (buttons.find((each) => each.dataset.item === item.id) ?? buttons[0])?.focus();
    find();
  } catch (error) {
    alertIn('recommend-error', error.message);
  }
}
