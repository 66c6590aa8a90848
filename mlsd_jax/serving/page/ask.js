// Questions to a corpus: cited sentences, the pages that were found, and a page with the cited place marked.

import {get, post} from './api.js';
import {alertIn, bar, byId, choose, count, el, latest, milliseconds, percent, say} from './dom.js';

const SHOWN = 10;
const STAGES = {bm25: 'BM25', encode: 'encoder'};  // that are not called as the server calls them

const next = latest();
let opener = null;

export function begin(models) {
  choose(byId('ask-model'), models.map((each) => each.id));
  byId('ask-form').addEventListener('submit', (event) => {
    event.preventDefault();
    ask('');
  });
  byId('page-close').addEventListener('click', () => byId('page').close());
  byId('page').addEventListener('click', (event) => {
    if (event.target === byId('page')) byId('page').close();  // beside the page
  });
  byId('page').addEventListener('close', () => opener?.focus());
}

// `folder`: '' for all pages, or one that they are filed under.
async function ask(folder) {
  const isLatest = next();
  const model = byId('ask-model').value;
  const body = {query: byId('ask-query').value, model, folder};
  alertIn('ask-error', '');
  say('ask-status', 'Looking…');
  try {
    const [said, found] = await Promise.all([
      post('v1/ask', body),
      post('v1/search', {...body, number: SHOWN}),
    ]);
    if (!isLatest()) return;
    showAnswer(said, model);
    showFound(found, model, folder);
    say('ask-status', said.abstains ? 'The pages do not seem to know.' : `Answered from ${count(said.citations.length, 'sentence')}.`);
  } catch (error) {
    if (!isLatest()) return;
    byId('ask-answer').hidden = byId('ask-found').hidden = true;
    say('ask-status', '');
    alertIn('ask-error', error.message);
  }
}

function showAnswer(said, model) {
  const card = byId('ask-answer');
  card.hidden = false;
  card.replaceChildren(el('h3', {}, said.abstains ? 'No answer' : 'Answer'));
  if (said.abstains) {
    card.append(el('p', {class: 'notice'}, 'The pages do not seem to answer this. ',
      said.citations.length ? 'The nearest that they say, which may be about something else:' : ''));
  } else if (said.text) card.append(el('p', {class: 'answer-text'}, said.text));
  const items = said.citations.map((each) => el('li', {},
    el('p', {}, each.text),
    el('button', {type: 'button', class: 'link', onclick: (event) => open(event.currentTarget, each, model)},
      each.title || each.page_id, el('span', {class: 'visually-hidden'}, ': read this in its place'))));
  card.append(el('ol', {class: said.abstains ? 'citations doubtful' : 'citations', 'aria-label': 'Citations'}, ...items));
  if (said.confidence !== null) {
    card.insertBefore(el('div', {class: 'sure'},
      el('span', {}, `Probability that the pages answer it: ${percent(said.confidence)}`), bar(said.confidence)), card.children[1]);
  }
}

function showFound(found, model, folder) {
  const card = byId('ask-found');
  card.hidden = false;
  const took = Object.entries(found.milliseconds).map(([stage, value]) => el('li', {}, `${STAGES[stage] ?? stage} ${milliseconds(value)}`));
  card.replaceChildren(
    el('h3', {}, 'Pages found'),
    found.did_you_mean && el('p', {}, 'Did you mean ', el('button', {type: 'button', class: 'link', onclick: () => {
      byId('ask-query').value = found.did_you_mean;
      ask(folder);
    }}, found.did_you_mean), '?'),
    ...folders(found.folders, folder),
    el('ul', {class: 'tags stages', 'aria-label': 'Time of each stage'}, ...took),
    el('ol', {class: 'hits'}, ...found.pages.map((page) => el('li', {},
      el('button', {type: 'button', class: 'link', onclick: (event) => open(event.currentTarget, {page_id: page.id}, model)},
        page.title || page.id),
      el('p', {class: 'snippet'}, ...snippet(page.snippet)),
      el('ul', {class: 'tags', 'aria-label': 'Rank in each stage'},
        ...Object.entries(page.ranks).map(([stage, rank]) => el('li', {}, `${STAGES[stage] ?? stage} #${rank}`)))))),
  );
}

// Where the pages are filed: each name asks again within it.
function folders(counts, chosen) {
  if (!chosen && counts.length < 2) return [];
  const within = (name, text) => el('li', {}, el('button', {type: 'button', class: 'link', onclick: () => ask(name)}, text));
  return [el('ul', {class: 'tags', 'aria-label': 'Folders of the pages found'},
    chosen && within('', `only ${chosen}: show all`),
    ...counts.slice(0, SHOWN).filter((each) => each.folder !== chosen).map((each) => within(each.folder, `${each.folder} (${each.pages})`)))];
}

// Places count characters, of which JavaScript takes some for two.
function snippet({text, marks}) {
  const characters = [...text];
  const cut = (start, end) => characters.slice(start, end).join('');
  const ends = [0, ...marks.map(([, end]) => end)];
  return [...marks.flatMap(([start, end], i) => [cut(ends[i], start), el('mark', {}, cut(start, end))]), cut(ends.at(-1))];
}

async function open(from, {page_id: id, start, end}, model) {
  opener = from;
  try {
    const page = await get(`v1/pages/${encodeURIComponent(id)}?model=${encodeURIComponent(model)}`);
    say('page-title', page.title || page.id);
    say('page-id', page.id === page.title ? '' : page.id);
    const text = byId('page-text');
    text.replaceChildren(...(start === undefined ? [page.text] : marked(page.text, start, end)));
    byId('page').showModal();
    text.scrollTop = 0;
    text.querySelector('mark')?.scrollIntoView({block: 'center'});
    text.focus({preventScroll: true});
  } catch (error) {
    alertIn('ask-error', error.message);
  }
}

function marked(text, start, end) {
  const [from, to] = [index(text, start), index(text, end)];
  return [text.slice(0, from), el('mark', {}, text.slice(from, to)), text.slice(to)];
}

// The server counts characters, JavaScript UTF-16 units: those of characters beyond U+FFFF are two.
function index(text, characters) {
  let at = 0;
  for (let i = 0; i < characters && at < text.length; i++) at += text.codePointAt(at) > 0xffff ? 2 : 1;
  return at;
}
