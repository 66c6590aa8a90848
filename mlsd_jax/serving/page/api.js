// Requests to the server that the page came from, and to no other.

const BASE = new URL('../', import.meta.url);

let key = '';  // in memory alone: it is gone with the page
let askForKey = null;
let asked = null;  // one question for all requests that were refused

// ask(isSecondTime) -> a promise of the key.
export function onMissingKey(ask) {
  askForKey = ask;
}

export async function get(path) {
  return (await request(path)).json();
}

export async function getText(path) {
  return (await request(path)).text();
}

export async function post(path, body, signal) {
  return (await request(path, {method: 'POST', body, signal})).json();
}

// The data of server-sent events, parsed; an event that tells an error is thrown.
export async function* stream(path, body, signal) {
  const response = await request(path, {method: 'POST', body, signal});
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    while (true) {
      const {value, done} = await reader.read();
      if (done) throw new Error('The server ended the answer before it was whole.');
      const events = (rest + value).split('\n\n');
      rest = events.pop();
      for (const event of events) {
        if (!event.startsWith('data: ')) continue;
        const data = event.slice(6);
        if (data === '[DONE]') return;
        const told = JSON.parse(data);
        if (told.error) throw new Error(told.error.message ?? String(told.error));
        yield told;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function request(path, {method = 'GET', body, signal} = {}) {
  const used = key;
  const headers = {};
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (used) headers.Authorization = `Bearer ${used}`;
  let response;
  try {
    response = await fetch(new URL(path, BASE), {method, headers, signal, body: body && JSON.stringify(body)});
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Error('The server does not answer.');
  }
  if (response.status === 401 && askForKey) {
    if (used === key) {
      asked ??= askForKey(used !== '').finally(() => { asked = null; });
      key = await asked;
    }
    return request(path, {method, body, signal});
  }
  if (!response.ok) throw new Error(await reason(response));
  return response;
}

async function reason(response) {
  const told = await response.json().catch(() => ({}));
  const message = told.error?.message ?? told.error ?? told.message ?? `the server answered ${response.status}`;
  const wait = response.headers.get('Retry-After');
  return String(message) + (wait ? ` (in ${wait} s)` : '');
}
