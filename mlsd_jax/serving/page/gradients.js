// An expression as a graph: its value, and the gradient at each node.

import {post} from './api.js';
import {alertIn, byId, el, latest, say} from './dom.js';
import {drawing} from './drawing.js';

const FIRST = {w: 0.5, x: 2, b: -0.3};  // values of the expression that the page begins with
const LONGEST = 64;  // nodes that the server draws

const next = latest();
let isFresh = false;

export function begin() {
  byId('gradients-expression').addEventListener('input', fields);
  byId('gradients-form').addEventListener('submit', (event) => {
    event.preventDefault();
    compute();
  });
  fields();
}

export function enter() {
  if (!isFresh) byId('gradients-form').requestSubmit();
}

// A field for each name in the expression that is not called; those that stay keep their value.
function fields() {
  const text = byId('gradients-expression').value;
  const names = [...new Set([...text.matchAll(/(?<![\w.])[\p{L}_][\p{L}\p{N}_]*(?!\s*\(|[\p{L}\p{N}_])/gu)].map((each) => each[0]))];
  const box = byId('gradients-values');
  const old = new Map([...box.querySelectorAll('input')].map((each) => [each.dataset.name, each.value]));
  box.replaceChildren(...names.slice(0, 20).map((name, i) => el('div', {class: 'field'},
    el('label', {for: `gradients-value-${i}`}, name),
    el('input', {id: `gradients-value-${i}`, type: 'number', step: 'any', required: true, 'data-name': name,
      value: old.get(name) ?? FIRST[name] ?? 1}))));
}

async function compute() {
  isFresh = true;
  const isLatest = next();
  const values = Object.fromEntries([...byId('gradients-values').querySelectorAll('input')]
    .map((each) => [each.dataset.name, Number(each.value)]));
  const body = {expression: byId('gradients-expression').value, values};
  alertIn('gradients-error', '');
  try {
    let told = await post('v1/micrograd', body);
    if (told.nodes.length <= LONGEST) told = await post('v1/micrograd', {...body, svg: true});
    if (isLatest()) show(told);
  } catch (error) {
    if (!isLatest()) return;
    byId('gradients-card').hidden = true;
    say('gradients-status', '');
    alertIn('gradients-error', error.message);
  }
}

function show({value, nodes, svg}) {
  const name = (id) => nodes[id].label || (nodes[id].op ? `(${id + 1})` : number(nodes[id].data));
  byId('gradients-card').hidden = false;
  say('gradients-status', `The value is ${number(value)}.`);
  byId('gradients-graph').replaceChildren(svg ? drawing(svg, 'Graph of the expression; the table below says the same')
    : el('p', {class: 'muted'}, `A graph of ${nodes.length} nodes is not drawn; the table below has them.`));
  byId('gradients-nodes').replaceChildren(...nodes.map((node) => el('tr', {},
    el('th', {scope: 'row', class: 'mono'}, name(node.id)),
    el('td', {class: 'mono'}, node.op ? computed(node, name) : ''),
    el('td', {class: 'number'}, number(node.data)),
    el('td', {class: 'number'}, node.grad === null ? 'none' : number(node.grad)))));
}

function computed({op, operands}, name) {
  return operands.length === 2 ? `${name(operands[0])} ${op} ${name(operands[1])}` : `${op} of ${operands.map(name).join(', ')}`;
}

const number = (value) => String(Number(value.toPrecision(4))).replace('-', '−');
