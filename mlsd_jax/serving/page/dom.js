// Elements are built, never parsed: whatever text a model, a corpus or a person gives stays text.

const SVG = 'http://www.w3.org/2000/svg';

export const byId = (id) => document.getElementById(id);

// el('li', {class: 'x', onclick: f}, 'text', node): strings become text nodes; null and false are left out.
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((each) => each !== null && each !== undefined && each !== false));
  return node;
}

// A bar beside a number that is also written; `share` from 0 to 1.
export function bar(share, name = 'bar') {
  const node = el('div', {class: name, 'aria-hidden': 'true'});
  node.style.setProperty('--share', Math.min(Math.max(share, 0), 1));
  return node;
}

export function say(id, text) {
  byId(id).textContent = text;
}

// An alert is shown and read out; an empty one is hidden.
export function alertIn(id, text) {
  const node = byId(id);
  node.textContent = text;
  node.hidden = !text;
}

// Fills a select with names; its field is hidden where there is nothing to choose.
export function choose(select, names) {
  select.replaceChildren(...names.map((name) => el('option', {value: name}, name)));
  select.closest('.field').hidden = names.length < 2;
}

// Only the answer to the latest question counts: latest() -> isLatest().
export function latest() {
  let number = 0;
  return () => {
    const mine = ++number;
    return () => mine === number;
  };
}

export function percent(share) {
  if (share > 0 && share < 0.001) return '<\u00a00.1%';
  if (share >= 0.995 && share < 1) return '>\u00a099%';
  return `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)}%`;
}

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString('en')} ${number === 1 ? one : many}`;

export function milliseconds(value) {
  return value >= 1000 ? `${(value / 1000).toFixed(2)} s` : `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

// White space that would not be seen, shown: ␣ at the edges, ↵ for line ends, ⇥ for tabs.
export function visible(text) {
  if (text === '') return '∅';
  return text.replace(/\n/g, '↵').replace(/\t/g, '⇥').replace(/\r/g, '␍').replace(/^ +| +$/g, (run) => '␣'.repeat(run.length));
}

// 'bytes:\xe2\x82' is how the server writes a token that holds a part of a character -> 'E2 82'; else null.
export function halfCharacter(piece) {
  if (!/^bytes:(\\x[0-9a-f]{2})+$/.test(piece)) return null;
  return piece.slice(6).split('\\x').filter(Boolean).join(' ').toUpperCase();
}

export function pieceNode(piece) {
  const bytes = halfCharacter(piece);
  return bytes === null ? document.createTextNode(visible(piece)) : el('span', {class: 'hex'}, bytes);
}
