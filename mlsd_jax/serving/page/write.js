// Text as it is written: each token with its probability, and what else was considered.

import {stream} from './api.js';
import {alertIn, bar, byId, choose, count, el, halfCharacter, percent, pieceNode, say} from './dom.js';

// Probability at least -> level of shading, by which tokens are drawn.
const LEVELS = [[0.75, '75% or more'], [0.5, '50 to 75%'], [0.2, '20 to 50%'], [0.05, '5 to 20%'], [0, 'under 5%']];
const ALTERNATIVES = 5;
const END = '<|endoftext|>';
const level = (probability) => LEVELS.findIndex(([least]) => probability >= least);

let told = [];  // of each token on the page: {piece, probability, top}
let chosen = -1;  // the token whose alternatives stand beside the text
let writing = null;  // AbortController

export function begin(models) {
  choose(byId('write-model'), models.map((each) => each.id));
  byId('write-legend').append(...LEVELS.map(([, name], at) => el('li', {},
    el('span', {class: 'token', 'data-level': at, 'aria-hidden': 'true'}, 'abc'), name)));
  byId('write-form').addEventListener('submit', (event) => {
    event.preventDefault();
    write();
  });
  byId('write-prompt').addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) byId('write-form').requestSubmit();
  });
  byId('write-stop').addEventListener('click', () => writing?.abort());
  const text = byId('write-text');
  for (const kind of ['click', 'mouseover', 'focusin']) {
    text.addEventListener(kind, (event) => {
      const token = event.target.closest('.token');
      if (token) select(Number(token.dataset.at));
    });
  }
  text.addEventListener('keydown', move);
}

async function write() {
  writing?.abort();
  const mine = new AbortController();
  writing = mine;
  told = [];
  chosen = -1;
  const prompt = byId('write-prompt').value;
  const seed = byId('write-seed').value;
  const body = {
    model: byId('write-model').value,
    prompt,
    temperature: Number(byId('write-temperature').value),
    top_p: Number(byId('write-top-p').value),
    max_tokens: Number(byId('write-tokens').value),
    logprobs: ALTERNATIVES,
    stream: true,
    stream_options: {include_usage: true},
    ...(seed === '' ? {} : {seed: Number(seed)}),
  };
  alertIn('write-error', '');
  byId('write-card').hidden = false;
  byId('write-text').replaceChildren(el('span', {class: 'prompt', role: 'presentation'}, prompt));
  byId('write-detail').replaceChildren();
  byId('write-hint').classList.remove('visually-hidden');
  byId('write-stop').disabled = false;
  say('write-status', 'Writing…');
  const began = performance.now();
  let first = null;
  let usage = null;
  let finish = null;
  try {
    for await (const event of stream('v1/completions', body, mine.signal)) {
      if (mine !== writing) return;
      usage = event.usage ?? usage;
      for (const choice of event.choices) {
        finish = choice.finish_reason ?? finish;
        if (choice.logprobs?.tokens.length) first ??= performance.now();
        add(choice.logprobs);
      }
    }
    say('write-status', summary(usage, finish, performance.now() - began, first - began));
  } catch (error) {
    if (mine !== writing) return;
    if (error.name === 'AbortError') say('write-status', `Stopped after ${count(told.length, 'token')}.`);
    else {
      say('write-status', told.length ? `Broken off after ${count(told.length, 'token')}.` : '');
      byId('write-card').hidden = !told.length;
      alertIn('write-error', error.message);
    }
  } finally {
    if (mine === writing) {
      writing = null;
      const stop = byId('write-stop');
      if (document.activeElement === stop) byId('write-go').focus();  // a disabled button would lose the focus
      stop.disabled = true;
    }
  }
}

function summary(usage, finish, all, first) {
  if (!usage) return '';
  const read = usage.prompt_tokens_details.cached_tokens;
  const written = usage.completion_tokens;
  return [
    `${count(written, 'token')} in ${(all / 1000).toFixed(1)} s`,
    `${(1000 * written / all).toFixed(0)} tokens/s`,
    `first after ${(first / 1000).toFixed(2)} s`,
    `prompt of ${count(usage.prompt_tokens, 'token')}${read ? ` (${read} from the cache)` : ''}`,
    finish === 'stop' ? 'the model ended the text' : 'ended by length',
  ].join(' · ');
}

function add(logprobs) {
  const tokens = (logprobs?.tokens ?? []).map((piece, i) => {
    const at = told.length;
    const probability = Math.exp(logprobs.token_logprobs[i]);
    told.push({piece, probability, top: logprobs.top_logprobs[i] ?? {}});
    return el('span', {
      class: 'token', role: 'option', 'data-at': at, 'data-level': level(probability), 'aria-selected': 'false',
      tabindex: at ? -1 : 0, 'aria-label': `${spoken(piece)}, ${percent(probability)}`,
    }, ...shown(piece));
  });
  byId('write-text').append(...tokens);
}

// In running text: line ends are marked and kept, halves of characters told as bytes.
function shown(piece) {
  const bytes = halfCharacter(piece);
  if (bytes !== null) return [el('span', {class: 'hex'}, bytes)];
  if (piece === END) return [el('span', {class: 'hex end'}, 'end of text')];
  return piece.split('\n').flatMap((part, i) => (i ? [el('span', {class: 'mark'}, '↵'), '\n', part] : [part]));
}

function spoken(piece) {
  const bytes = halfCharacter(piece);
  if (bytes !== null) return `bytes ${bytes}`;
  if (piece === END) return 'end of text';
  return piece.replace(/\n/g, ' line end ').trim() || 'space';
}

function select(at) {
  if (at === chosen || !told[at]) return;
  const tokens = byId('write-text').querySelectorAll('.token');
  for (const old of [tokens[chosen] ?? tokens[0]]) {
    old.setAttribute('aria-selected', 'false');
    old.tabIndex = -1;
  }
  chosen = at;
  tokens[at].setAttribute('aria-selected', 'true');
  tokens[at].tabIndex = 0;
  const {piece, probability, top} = told[at];
  const rows = Object.entries(top).map(([other, value]) => [other, Math.exp(value)]);
  rows.sort((a, b) => b[1] - a[1]);
  const rank = rows.findIndex(([other]) => other === piece);
  if (rank < 0) rows.push([piece, probability]);
  const place = rank < 0 ? `not among the ${rows.length - 1} most probable` : rank ? `number ${rank + 1} by probability`
    : 'the most probable here';
  byId('write-hint').classList.add('visually-hidden');
  byId('write-detail').replaceChildren(
    el('p', {class: 'chosen-token'}, el('code', {}, pieceNode(piece)), el('span', {class: 'muted'}, `${percent(probability)}, ${place}`)),
    el('ul', {class: 'bars', 'aria-label': 'Most probable tokens here'}, ...rows.map(([other, share]) => el('li',
      {class: other === piece ? 'chosen' : null},
      el('code', {}, pieceNode(other), other === piece ? el('span', {class: 'visually-hidden'}, ' (chosen)') : null),
      el('span', {}, percent(share)), bar(share)))),
  );
}

function move(event) {
  const last = told.length - 1;
  const to = {ArrowRight: chosen + 1, ArrowDown: chosen + 1, ArrowLeft: chosen - 1, ArrowUp: chosen - 1, Home: 0, End: last};
  if (!(event.key in to) || last < 0) return;
  event.preventDefault();
  const at = Math.min(Math.max(to[event.key], 0), last);
  byId('write-text').querySelectorAll('.token')[at].focus();
  select(at);
}
