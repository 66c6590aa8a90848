// The server's SVG, rebuilt from what is known to be harmless: its elements and attributes by name, its colours by class.

import {svg} from './dom.js';

const ELEMENTS = new Set(['svg', 'g', 'rect', 'path', 'circle', 'text']);
const ATTRIBUTES = new Set([
  'viewBox', 'width', 'height', 'x', 'y', 'cx', 'cy', 'r', 'rx', 'd', 'text-anchor', 'dominant-baseline', 'font-size',
  'font-weight', 'font-family', 'stroke-width',
]);
// Colours of the drawing -> classes of sections.css, which follow light and dark.
const CLASSES = {
  '#fff7ed': 'leaf', '#c2410c': 'leaf', '#f1f5f9': 'node', '#475569': 'line', '#64748b': 'edge', '#0f172a': 'ink',
};

export function drawing(source, name) {
  const parsed = new DOMParser().parseFromString(source, 'image/svg+xml').documentElement;
  const made = copy(parsed);
  if (made === null || made.localName !== 'svg') throw new Error('The drawing cannot be read.');
  made.setAttribute('role', 'img');
  made.setAttribute('aria-label', name);
  return made;
}

function copy(node) {
  if (node.nodeType === Node.TEXT_NODE) return document.createTextNode(node.data);
  if (node.nodeType !== Node.ELEMENT_NODE || !ELEMENTS.has(node.localName)) return null;
  const attributes = {};
  const classes = [];
  for (const {name, value} of node.attributes) {
    if (ATTRIBUTES.has(name)) attributes[name] = value;
    else if (name === 'fill') classes.push(`fill-${fillOf(node, value)}`);
    else if (name === 'stroke') classes.push(`stroke-${CLASSES[value] ?? 'line'}`);
  }
  if (classes.length) attributes.class = classes.join(' ');
  return svg(node.localName, attributes, ...[...node.childNodes].map(copy));
}

function fillOf(node, value) {
  if (value === 'white') return node.localName === 'circle' ? 'badge' : 'paper';
  return value === 'none' ? 'paper' : CLASSES[value] ?? 'ink';
}
