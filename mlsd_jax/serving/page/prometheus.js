// Prometheus' exposition format, as far as the server writes it.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES = {'\\\\': '\\', '\\"': '"', '\\n': '\n'};

// Name -> [{labels, value}].
export function parse(text) {
  const samples = new Map();
  for (const line of text.split('\n')) {
    const found = line.startsWith('#') ? null : LINE.exec(line);
    if (!found) continue;
    const [, name, inner = '', value] = found;
    const labels = {};
    for (const [, label, raw] of inner.matchAll(LABEL)) labels[label] = raw.replace(/\\[\\"n]/g, (each) => ESCAPES[each]);
    if (!samples.has(name)) samples.set(name, []);
    samples.get(name).push({labels, value: value === '+Inf' ? Infinity : Number(value)});
  }
  return samples;
}

export function sum(samples, name, isIn = () => true) {
  return (samples.get(name) ?? []).reduce((total, {labels, value}) => total + (isIn(labels) ? value : 0), 0);
}

// Of a histogram between two readings (`then` null: since the start), straight within a bucket; null if nothing was observed.
export function quantile(now, then, name, q, isIn = () => true) {
  const bounds = new Map();
  const add = (samples, sign) => {
    for (const {labels, value} of samples?.get(`${name}_bucket`) ?? []) {
      if (!isIn(labels)) continue;
      const bound = labels.le === '+Inf' ? Infinity : Number(labels.le);
      bounds.set(bound, (bounds.get(bound) ?? 0) + sign * value);
    }
  };
  add(now, 1);
  add(then, -1);
  const sorted = [...bounds].sort((a, b) => a[0] - b[0]);
  const all = sorted.at(-1)?.[1] ?? 0;
  if (all <= 0) return null;
  let [low, below] = [0, 0];
  for (const [bound, upTo] of sorted) {
    if (upTo >= q * all) {
      return bound === Infinity ? low : low + (bound - low) * (q * all - below) / (upTo - below);
    }
    [low, below] = [bound, upTo];
  }
  return low;
}
