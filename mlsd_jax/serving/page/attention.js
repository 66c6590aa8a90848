// Where a model's heads look: a small map for each head, one of them large, and one token's look as bars.

import {post} from './api.js';
import {alertIn, bar, byId, choose, count, el, halfCharacter, latest, percent, pieceNode, say, svg, visible} from './dom.js';

const LABELLED = 40;  // tokens up to which the large map names its rows and columns

const GLANCE = 8;  // heads that are seen at a glance

const next = latest();
let models = [];
let told = null;  // the server's answer
let layer = 0;
let head = 0;
let at = 0;  // the token whose look is told
let isFresh = false;

export function begin(served) {
  models = served.filter((each) => each.attention);
  if (!models.length) {
    byId('attention').querySelector('.body').replaceChildren(el('div', {class: 'card'},
      el('p', {}, 'No model that is served has attention that can be shown.')));
    return;
  }
  choose(byId('attention-model'), models.map((each) => each.id));
  // The top rung of a small ladder shows more at a glance than twelve layers of twelve heads.
  byId('attention-model').value = (models.filter((each) => size(each) <= GLANCE).toSorted((a, b) => size(b) - size(a))[0] ?? models[0]).id;
  byId('attention-form').addEventListener('submit', (event) => {
    event.preventDefault();
    look();
  });
  byId('attention-tokens').addEventListener('click', (event) => chooseToken(event.target.closest('button')));
  byId('attention-tokens').addEventListener('mouseover', (event) => chooseToken(event.target.closest('button')));
  byId('attention-heads').addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    [layer, head] = [Number(button.dataset.layer), Number(button.dataset.head)];
    draw();
  });
}

const size = ({attention}) => attention.layers * attention.heads;

export function enter() {
  if (!isFresh && models.length) byId('attention-form').requestSubmit();
}

async function look() {
  isFresh = true;
  const isLatest = next();
  alertIn('attention-error', '');
  say('attention-status', 'Reading…');
  try {
    const answer = await post('v1/attention', {model: byId('attention-model').value, text: byId('attention-text').value});
    if (!isLatest()) return;
    told = answer;
    layer = Math.min(layer, told.weights.length - 1);
    head = Math.min(head, told.weights[0].length - 1);
    at = told.tokens.length - 1;
    byId('attention-card').hidden = false;
    say('attention-status', `${count(told.tokens.length, 'token')}, ${count(told.weights.length, 'layer')} of ${count(told.weights[0].length, 'head')}`);
    byId('attention-heads').replaceChildren(...told.weights.flatMap((heads, i) => heads.map((rows, j) => el('li', {},
      el('button', {type: 'button', 'data-layer': i, 'data-head': j, 'aria-label': `${i + 1}.${j + 1}: layer ${i + 1}, head ${j + 1}`},
        map(rows), el('span', {}, `${i + 1}.${j + 1}`))))));
    byId('attention-tokens').replaceChildren(...told.pieces.map((piece, i) => el('button', {
      type: 'button', 'data-at': i, class: 'token', 'aria-label': `${spoken(piece)}, token ${i + 1}`}, pieceNode(piece))));
    draw();
  } catch (error) {
    if (!isLatest()) return;
    byId('attention-card').hidden = true;
    say('attention-status', '');
    alertIn('attention-error', error.message);
  }
}

const spoken = (piece) => (halfCharacter(piece) === null ? piece.replace(/\n/g, ' line end ').trim() || 'space' : `bytes ${halfCharacter(piece)}`);

function chooseToken(button) {
  if (!button) return;
  at = Number(button.dataset.at);
  tell();
}

function draw() {
  for (const button of byId('attention-heads').querySelectorAll('button')) {
    button.setAttribute('aria-pressed', Number(button.dataset.layer) === layer && Number(button.dataset.head) === head);
  }
  const name = `Layer ${layer + 1}, head ${head + 1}`;
  say('attention-map-title', `${name}: rows look at columns`);
  const large = map(told.weights[layer][head], told.pieces.length <= LABELLED ? told.pieces : null);
  large.setAttribute('role', 'img');
  large.removeAttribute('aria-hidden');
  large.setAttribute('aria-label', `${name}: each token's look at those before it; beside it the same of one token in numbers`);
  byId('attention-map').replaceChildren(large);
  tell();
}

// The chosen token's row: shades on the text, and the five that it looks at most.
function tell() {
  const row = told.weights[layer][head][at];
  const most = Math.max(...row);
  byId('attention-tokens').querySelectorAll('button').forEach((button, i) => {
    button.setAttribute('aria-pressed', i === at);
    button.style.setProperty('--share', i < row.length ? row[i] / most : 0);
  });
  const order = row.map((share, i) => [share, i]).toSorted((a, b) => b[0] - a[0]).slice(0, 5);
  byId('attention-look').replaceChildren(
    el('p', {class: 'chosen-token'}, el('code', {}, pieceNode(told.pieces[at])), el('span', {class: 'muted'}, `token ${at + 1} looks at`)),
    el('ul', {class: 'bars', 'aria-label': 'What the token looks at most'}, ...order.map(([share, i]) => el('li', {},
      el('code', {}, pieceNode(told.pieces[i]), el('span', {class: 'muted'}, ` ${i + 1}`)), el('span', {}, percent(share)), bar(share)))),
  );
}

// Weights as squares; darker is more. With `pieces` each row and column is named.
function map(rows, pieces = null) {
  const number = rows.length;
  const cell = pieces ? 14 : 1;
  const labels = (pieces ?? []).map((piece) => halfCharacter(piece) ?? visible(piece).slice(0, 5));
  const edge = pieces ? 6 + 5 * Math.max(...labels.map((each) => each.length)) : 0;
  const squares = rows.flatMap((row, t) => row.map((share, s) => (share < 0.004 ? null : svg('rect', {
    x: edge + s * cell, y: edge + t * cell, width: cell, height: cell, 'fill-opacity': share.toFixed(3)}))));
  const names = labels.flatMap((label, i) => {
    const middle = edge + (i + 0.5) * cell;
    return [
      svg('text', {x: edge - 4, y: middle, 'text-anchor': 'end', 'dominant-baseline': 'central'}, label),
      svg('text', {transform: `translate(${middle} ${edge - 4}) rotate(-90)`, 'dominant-baseline': 'central'}, label),
    ];
  });
  const stairs = rows.map((_, t) => `H${edge + (t + 1) * cell}V${edge + (t + 1) * cell}`).join('');
  const whole = edge + number * cell;
  return svg('svg', {viewBox: `0 0 ${whole} ${whole}`, class: 'map', 'aria-hidden': 'true'},
    svg('path', {class: 'ground', d: `M${edge} ${edge}${stairs}H${edge}Z`}), ...squares, ...names);
}
