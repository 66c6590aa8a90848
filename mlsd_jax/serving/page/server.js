// The server's own figures from /metrics, as lines of the last two minutes and as tables.

import {getText} from './api.js';
import {alertIn, byId, el, milliseconds, svg} from './dom.js';
import {parse, quantile, sum} from './prometheus.js';

const EVERY = 2000;  // milliseconds between two readings
const KEPT = 60;  // readings
const WINDOW = 30;  // readings that a quantile is taken over: a minute

const one = (value) => value.toFixed(value < 10 ? 1 : 0);
const whole = (value) => value.toFixed(0);
const seconds = (value) => milliseconds(1000 * value);
const share = (value) => `${(100 * value).toFixed(0)}%`;

// What is drawn: (now, before, a minute ago, seconds since before) -> a number, or null where nothing happened.
const FIGURES = [
  {name: 'Requests a second', text: one, of: (now, then, _, passed) => grown(now, then, 'mlsd_requests_total', ours) / passed},
  {name: 'Median latency, last minute', text: seconds, of: (now, _, ago) => quantile(now, ago, 'mlsd_request_seconds', 0.5, ours)},
  {name: 'p99 latency, last minute', text: seconds, of: (now, _, ago) => quantile(now, ago, 'mlsd_request_seconds', 0.99, ours)},
  {name: 'Tokens written a second', text: one, of: (now, then, _, passed) => grown(now, then, 'mlsd_tokens_total', sampled) / passed},
  {name: 'Texts being written', text: whole, of: (now) => sum(now, 'mlsd_running')},
  {name: 'Requests waiting', text: whole, of: (now) => sum(now, 'mlsd_waiting')},
  {name: 'Texts at once, last minute', text: one, of: (now, _, ago) => ratio(
    grown(now, ago, 'mlsd_decode_rows'), grown(now, ago, 'mlsd_decode_steps'))},
  {name: 'Items a batch, last minute', text: one, of: (now, _, ago) => ratio(
    grown(now, ago, 'mlsd_batch_items_sum'), grown(now, ago, 'mlsd_batch_items_count'))},
  {name: 'Prompt tokens from the cache', text: share, of: (now) => ratio(
    sum(now, 'mlsd_tokens_total', cached), sum(now, 'mlsd_tokens_total', cached) + sum(now, 'mlsd_tokens_total', prompts))},
];

// What clients ask; not probes, and not this page.
const ours = ({path}) => !/^\/(|page\/.*|health|ready|metrics|docs.*|openapi.json)$/.test(path);
const sampled = (labels) => labels.kind === 'sampled';
const cached = (labels) => labels.kind === 'cached';
const prompts = (labels) => labels.kind === 'prompt';
// What a counter has grown by; a server that was started anew counts from nothing.
const grown = (now, then, name, isIn) => Math.max(sum(now, name, isIn) - sum(then, name, isIn), 0);
const ratio = (part, whole) => (whole > 0 ? part / whole : null);

let timer = null;
const readings = [];  // {time, samples}
const lines = FIGURES.map(() => []);

export function begin() {
  byId('server-figures').append(...FIGURES.map(({name}, i) => el('li', {class: 'card'},
    el('p', {class: 'label', id: `figure-${i}`}, name), el('p', {class: 'now', id: `figure-${i}-now`}, '–'),
    svg('svg', {class: 'spark', id: `figure-${i}-line`, viewBox: '0 0 100 40', preserveAspectRatio: 'none', 'aria-hidden': 'true'}))));
}

export function enter() {
  read();
  timer = setInterval(read, EVERY);
}

export function leave() {
  clearInterval(timer);
}

async function read() {
  if (document.hidden) return;
  try {
    readings.push({time: performance.now(), samples: parse(await getText('metrics'))});
    alertIn('server-error', '');
  } catch (error) {
    alertIn('server-error', error.message);
    return;
  }
  if (readings.length > KEPT) readings.shift();
  const now = readings.at(-1);
  const then = readings.at(-2) ?? {time: now.time - 1, samples: now.samples};
  const ago = readings.at(-WINDOW) ?? readings[0];
  FIGURES.forEach(({of, text}, i) => {
    const value = of(now.samples, then.samples, ago.samples, (now.time - then.time) / 1000);
    lines[i].push(value);
    if (lines[i].length > KEPT) lines[i].shift();
    byId(`figure-${i}-now`).textContent = value === null ? '–' : text(value);
    draw(byId(`figure-${i}-line`), lines[i]);
  });
  byId('server-table').replaceChildren(...FIGURES.map(({name, text}, i) => {
    const known = lines[i].filter((each) => each !== null);
    const cell = (value) => el('td', {class: 'number'}, value === null || !known.length ? '–' : text(value));
    return el('tr', {}, el('th', {scope: 'row'}, name), cell(lines[i].at(-1)), cell(Math.min(...known)), cell(Math.max(...known)));
  }));
  showLatency(now.samples);
}

// From the right: the newest reading stands at the right edge. A gap is where there was nothing to tell.
function draw(node, values) {
  const top = Math.max(...values, 1e-9);
  const runs = [[]];
  values.forEach((value, i) => {
    if (value === null) runs.push([]);
    else runs.at(-1).push(`${100 - (values.length - 1 - i) * 100 / (KEPT - 1)},${38 - 36 * value / top}`);
  });
  const drawn = runs.filter((run) => run.length).flatMap((run) => [
    svg('polygon', {points: [`${run[0].split(',')[0]},39`, ...run, `${run.at(-1).split(',')[0]},39`].join(' ')}),
    svg('polyline', {points: (run.length > 1 ? run : [run[0], run[0]]).join(' ')})]);
  node.replaceChildren(svg('line', {x1: 0, x2: 100, y1: 39.5, y2: 39.5}), ...drawn);
}

function showLatency(samples) {
  const rows = [];
  const add = (base, label, isIn) => {
    const times = sum(samples, `${base}_count`, isIn);
    if (!times) return;
    const cells = [0.5, 0.99].map((q) => el('td', {class: 'number'}, seconds(quantile(samples, null, base, q, isIn) ?? 0)));
    rows.push(el('tr', {}, el('th', {scope: 'row'}, label), el('td', {class: 'number'}, times.toLocaleString('en')), ...cells));
  };
  for (const {labels} of samples.get('mlsd_request_seconds_count') ?? []) {
    if (ours(labels)) add('mlsd_request_seconds', labels.path === 'other' ? 'what is not there' : labels.path, (each) => each.path === labels.path);
  }
  for (const {labels} of samples.get('mlsd_first_token_seconds_count') ?? []) {
    add('mlsd_first_token_seconds', `${labels.model}: first token`, (each) => each.model === labels.model);
  }
  for (const {labels} of samples.get('mlsd_stage_seconds_count') ?? []) {
    add('mlsd_stage_seconds', `${labels.model}: ${labels.stage}`, (each) => each.model === labels.model && each.stage === labels.stage);
  }
  byId('server-latency').replaceChildren(...rows.sort((a, b) => a.textContent.localeCompare(b.textContent)));
}
