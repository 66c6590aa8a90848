// Problems of the library, and the verdict on a program of one's own.

import {get, post} from './api.js';
import {alertIn, byId, count, el, latest, say} from './dom.js';

const NAMES = {python: 'Python', cpp: 'C++', c: 'C', java: 'Java', rust: 'Rust', javascript: 'JavaScript'};
const next = latest();
let about = null;  // what the server tells of its problems

export function begin() {
  byId('judge-form').addEventListener('submit', (event) => {
    event.preventDefault();
    submit();
  });
  byId('judge-problem').addEventListener('change', show);
}

export async function enter() {
  if (about) return;
  try {
    about = await get('v1/judge');
  } catch (error) {
    alertIn('judge-error', error.message);
    return;
  }
  const group = (kind, label) => el('optgroup', {label}, ...about.problems.filter((each) => each.kind === kind)
    .map((each) => el('option', {value: each.name}, `${each.name}: ${each.title}`)));
  byId('judge-problem').replaceChildren(group('contest', 'Programs'), group('design', 'Classes'));
  const seconds = count(about.limits.time_seconds, 'second');
  say('judge-limits', `Each case may take ${seconds} and ${about.limits.memory_bytes / 2 ** 20} MiB.`);
  show();
}

const chosen = () => about.problems.find((each) => each.name === byId('judge-problem').value);

function show() {
  const problem = chosen();
  const languages = problem.kind === 'design' ? ['python'] : about.languages;
  const before = byId('judge-language').value;
  byId('judge-language').replaceChildren(...languages.map((each) => el('option', {value: each}, NAMES[each])));
  if (languages.includes(before)) byId('judge-language').value = before;
  byId('judge-statement').replaceChildren(
    el('h3', {}, problem.title),
    el('p', {class: 'statement'}, problem.statement),
    ...problem.samples.slice(0, 1).map(({input, answer}) => el('div', {class: 'samples'},
      el('div', {}, el('h4', {}, 'Input'), el('pre', {}, input)), el('div', {}, el('h4', {}, 'Answer'), el('pre', {}, answer)))),
  );
  byId('judge-source').value = problem.start;
  byId('judge-verdict').hidden = true;
}

async function submit() {
  const isLatest = next();
  alertIn('judge-error', '');
  byId('judge-verdict').hidden = true;
  say('judge-status', 'Judging…');
  const body = {problem: chosen().name, source: byId('judge-source').value, language: byId('judge-language').value};
  try {
    const told = await post('v1/judge', body);
    if (!isLatest()) return;
    const meant = about.verdicts[told.verdict];
    say('judge-status', `${told.problem}: ${meant}`);
    byId('judge-verdict-title').replaceChildren(el('span', {class: told.verdict === 'AC' ? 'tag new' : 'tag bad'}, told.verdict), ` ${meant}`);
    byId('judge-complaint').hidden = told.compile_error === null;
    say('judge-complaint', told.compile_error ?? '');
    byId('judge-table').hidden = !told.cases.length;
    byId('judge-cases').replaceChildren(...told.cases.map((each) => el('tr', {},
      el('th', {scope: 'row'}, each.case), el('td', {}, each.verdict ?? 'not run'), el('td', {}, each.message),
      el('td', {class: 'number'}, `${(1000 * each.cpu_seconds).toFixed(0)} ms`),
      el('td', {class: 'number'}, `${(each.memory_bytes / 2 ** 20).toFixed(0)} MiB`))));
    byId('judge-verdict').hidden = false;
  } catch (error) {
    if (!isLatest()) return;
    say('judge-status', '');
    alertIn('judge-error', error.message);
  }
}
