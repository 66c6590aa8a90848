// Which sections there are, which one is shown, and the key where the server wants one.

import {get, onMissingKey} from './api.js';
import {byId, count, el, say} from './dom.js';
import * as ask from './ask.js';
import * as estimate from './estimate.js';
import * as attention from './attention.js';
import * as gradients from './gradients.js';
import * as judge from './judge.js';
import * as names from './names.js';
import * as recommend from './recommend.js';
import * as server from './server.js';
import * as tokenizers from './tokenizers.js';
import * as write from './write.js';

// Section -> its module, and the kind of system of /v1/systems that it needs.
const SECTIONS = {
  write: [write, 'texts'],
  attention: [attention, 'texts'],
  ask: [ask, 'searches'],
  recommend: [recommend, 'recommenders'],
  tokenizers: [tokenizers, 'tokenizers'],
  names: [names, 'names'],
  gradients: [gradients, null],
  estimate: [estimate, null],
  judge: [judge, 'judges'],
  server: [server, null],
};

let shown = null;

onMissingKey((isSecondTime) => new Promise((resolve) => {
  const form = byId('key');
  say('state', isSecondTime ? 'The key was not accepted' : 'A key is needed');
  say('key-title', isSecondTime ? 'That key was not accepted' : 'This server asks for a key');
  form.hidden = false;
  byId('key-value').focus();
  form.onsubmit = (event) => {
    event.preventDefault();
    const given = byId('key-value').value;
    byId('key-value').value = '';
    form.hidden = true;
    resolve(given);
  };
}));

async function begin() {
  let systems;
  try {
    systems = await get('v1/systems');
  } catch (error) {
    say('state', error.message);
    return;
  }
  let served = 0;
  for (const [name, [module, kind]] of Object.entries(SECTIONS)) {
    const {models, command} = kind ? systems[kind] : {models: []};
    served += models.length;
    if (kind && !models.length) showMissing(name, command);
    else module.begin(models, systems);
  }
  say('state', `Ready: ${count(served, 'model')}`);
  window.addEventListener('hashchange', () => show(true));
  show(false);
}

function showMissing(name, command) {
  link(name).setAttribute('data-missing', '');
  link(name).append(el('span', {class: 'visually-hidden'}, ', not served'));
  const card = el('div', {class: 'card'}, el('p', {}, 'Nothing of this kind is served here yet.'));
  if (command) {
    const done = el('span', {class: 'visually-hidden', role: 'status'});
    const copy = el('button', {type: 'button', onclick: async () => {
      await navigator.clipboard.writeText(command);
      copy.textContent = 'Copied';
      done.textContent = 'Copied';
    }}, 'Copy');
    card.append(
      el('p', {class: 'muted'}, 'This command makes one; then start the server again.'),
      el('div', {class: 'command'}, el('code', {}, command), navigator.clipboard ? copy : null, done),
    );
  }
  byId(name).querySelector('.body').replaceChildren(card);
}

function show(isChosen) {
  const asked = location.hash.slice(1);
  const first = Object.keys(SECTIONS).find((name) => !link(name).hasAttribute('data-missing'));
  const name = asked in SECTIONS ? asked : first;
  if (name === shown) return;
  for (const each of Object.keys(SECTIONS)) {
    byId(each).hidden = each !== name;
    link(each).toggleAttribute('aria-current', false);
  }
  if (shown) SECTIONS[shown][0].leave?.();
  shown = name;
  link(name).setAttribute('aria-current', 'page');
  reveal(link(name));
  const heading = byId(`${name}-title`);
  document.title = `${heading.textContent} · mlsd_jax`;
  if (isChosen) {
    window.scrollTo(0, 0);
    heading.focus({preventScroll: true});
  }
  if (!link(name).hasAttribute('data-missing')) SECTIONS[name][0].enter?.();
}

// scrollIntoView would also move the place from which Tab goes on.
function reveal(at) {
  for (let box = at.parentElement; box !== document.body; box = box.parentElement) {
    const inner = at.getBoundingClientRect();
    const outer = box.getBoundingClientRect();
    box.scrollLeft += (inner.left + inner.right - outer.left - outer.right) / 2;
    box.scrollTop += Math.min(0, inner.top - outer.top) + Math.max(0, inner.bottom - outer.bottom);
  }
}

const link = (name) => byId('links').querySelector(`[href="#${name}"]`);

byId('skip').addEventListener('click', (event) => {
  event.preventDefault();  // the address names the section, not this
  byId('main').focus();
});

begin();
