"""The page in a real browser, before a real server: every section, by mouse, by keyboard, on a phone, in the dark."""

import asyncio
import contextlib
import dataclasses
import pathlib
import re
import shutil
import socket
import threading
import time

import httpx
import jax
import polars as pl
import pytest
import uvicorn

from mlsd_jax.data.words import WordList
from mlsd_jax.errors import UserError
from mlsd_jax.makemore import new_words, task
from mlsd_jax.makemore.ladder import Trained
from mlsd_jax.models import name_models
from mlsd_jax.models.name_models import NameConfig
from mlsd_jax.retrieval.build import BuildConfig, build_store
from mlsd_jax.retrieval.calibration import PRIOR, Calibration
from mlsd_jax.retrieval.pages import MARKDOWN, Page
from mlsd_jax.retrieval.search import SearchConfig, Searcher
from mlsd_jax.retrieval.store import open_store
from mlsd_jax.serving import (
  Limits,
  NameService,
  RecommendService,
  SearchService,
  Services,
  Shop,
  TextService,
  create_app,
)
from mlsd_jax.serving.judge_service import JudgeService
from mlsd_jax.tokenizers import ByteTokenizer
from mlsd_jax.tokenizers.wordpiece import WordPieceTokenizer
from tests.recsys.conftest import made, shop, state  # noqa: F401 (fixtures)
from tests.serving.conftest import CONFIG

playwright = pytest.importorskip('playwright.sync_api', reason='no Playwright is installed')
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason='no chromium is installed (apt-get install chromium)')

EVIL = '<img src=x onerror="window.evil=1"><script>window.evil=1</script>&amp;'
PHONE = {'width': 375, 'height': 740}
SECTIONS = ('write', 'attention', 'ask', 'recommend', 'tokenizers', 'names', 'gradients', 'judge', 'estimate', 'server')


class Hindered:
  """A service that does not come to its end, so that a person can stop it, or breaks after some pieces."""

  def __init__(self, name, service, pieces=None):
    self.name, self._service, self._pieces = name, service, pieces

  def __getattr__(self, name):
    return getattr(self._service, name)

  def start(self):
    """Somebody else does."""

  close = start

  async def write(self, *arguments):
    number = 0
    async for piece in self._service.write(*arguments):
      yield piece
      await asyncio.sleep(0.1)
      number += 1
      if number == self._pieces:
        raise RuntimeError('a device was lost')
      if self._pieces is None and number == 3:
        await asyncio.Event().wait()  # it must not end by itself before a person on a busy machine has stopped it


@contextlib.contextmanager
def serving(services, limits=None):
  """The address of a server in a thread."""
  with socket.create_server(('127.0.0.1', 0)) as listener:
    config = uvicorn.Config(create_app(services, limits), log_level='error', timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={'sockets': [listener]})
    thread.start()
    while not server.started:
      time.sleep(0.02)
      assert thread.is_alive()
    yield f'http://127.0.0.1:{listener.getsockname()[1]}'
    server.should_exit = True
    thread.join()


def _searches(encoder, folder):
  subjects = ('folders', 'archives', 'numbers', 'dates', EVIL)
  text = '# 🙂 All about {0}\n\nThis is how {0} are copied. Number {1}.\n'
  pages = [
    Page(f'library/page {i}.md', f'All about {subject}', text.format(subject, i), 'a', MARKDOWN)
    for i, subject in enumerate(subjects)
  ]
  build_store(pages, folder, encoder, BuildConfig(near_duplicate=0))
  searcher = Searcher(open_store(folder, encoder), encoder, SearchConfig(pages=5))
  return {
    'docs': SearchService('docs', searcher, Calibration((0.0,) * len(PRIOR.weights), 4.0)),
    'unsure': SearchService('unsure', searcher, Calibration((0.0,) * len(PRIOR.weights), -4.0)),
  }


def _names():
  words = WordList.split('words', ['anna', 'ben', 'clara', 'dan', 'emma', 'anja', 'bea', 'carl', 'dana', 'emil'])
  config = NameConfig(kind='mlp', vocab_size=words.vocab_size, length=words.length, embed_dim=4, hidden_dim=8)
  params = name_models.init(jax.random.key(0), config)
  model = Trained(
    losses=lambda chosen: task.score(params, words, chosen, config),
    make=lambda number, seed: new_words.make_words(params, words, config, number, jax.random.key(seed)),
  )
  return NameService('names', words, {'mlp': model})


@pytest.fixture(scope='module')
def cage():
  """A judge, or why there is none here."""
  try:
    return JudgeService.open()
  except UserError as error:
    return str(error)


@pytest.fixture(scope='module')
def address(params, small_encoder, shop, cage, tmp_path_factory):  # noqa: F811
  named = pl.lit(EVIL) + pl.col('id').cast(pl.String)
  items, known = (table.with_columns(name=named) for table in (shop.items, shop.purchases.items))
  built = dataclasses.replace(shop, items=items, purchases=dataclasses.replace(shop.purchases, items=known))
  text = TextService('gpt', params, CONFIG, ByteTokenizer(), slots=2, max_waiting=4)
  recommender = RecommendService('shop', built, shop=Shop(built, tmp_path_factory.mktemp('events')))
  recommender.warm_up = lambda: None  # batches of 8 and of 64 would be compiled, and nobody needs them here
  services = Services(
    texts={'gpt': text, 'slow': Hindered('slow', text), 'broken': Hindered('broken', text, 3)},
    searches=_searches(small_encoder, tmp_path_factory.mktemp('store') / 'store'),
    recommenders={'shop': recommender},
    names={'names': _names()},
    judges={} if isinstance(cage, str) else {'judge': cage},
    tokenizers={'bytes': ByteTokenizer(), 'pieces': WordPieceTokenizer.train(['the cat and the hat'] * 3, 60)},
  )
  with serving(services) as address:
    yield address


@pytest.fixture(scope='module')
def browser():
  with playwright.sync_playwright() as manager:
    browser = manager.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
    yield browser
    browser.close()


@pytest.fixture
def open_page(browser, address):
  """open_page(section, address, **options of a browser context) -> a page; at its end it must have been quiet."""
  noise, contexts = [], []

  def refuse(route):
    noise.append(f'outside: {route.request.url}')
    route.abort()

  def visit(section='', at=address, **options):
    context = browser.new_context(**({'reduced_motion': 'reduce'} | options))
    contexts.append(context)
    context.route(lambda url: not url.startswith(at), refuse)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.on('console', lambda said: said.type in ('error', 'warning') and noise.append(said.text))
    page.on('response', lambda answer: answer.status >= 400 and visit.refused.append(answer.status))
    page.on('pageerror', lambda error: noise.append(str(error)))
    page.goto(f'{at}/#{section}')
    return page

  visit.refused = []  # statuses that a test expects, and takes out
  yield visit
  for context in contexts:
    for page in context.pages:
      assert page.evaluate('window.evil') is None
    context.close()
  assert visit.refused == []
  assert [each for each in noise if 'Failed to load resource' not in each] == []


def check_with_axe(page):
  import axe_playwright_python

  page.evaluate((pathlib.Path(axe_playwright_python.__file__).parent / 'axe.min.js').read_text())
  found = page.evaluate('axe.run(document, {resultTypes: ["violations"]})')
  told = [(each['id'], [node['html'][:200] for node in each['nodes'][:3]]) for each in found['violations']]
  assert told == []


def choose_model(page, label, name):
  page.get_by_label(label, exact=True).locator('visible=true').select_option(name)


def fill_section(page, section):
  """Does what a section is for, with text that would do harm as markup, until its answer is there."""
  if section == 'write':
    page.get_by_label('Prompt').fill(EVIL[:12])
    page.get_by_label('Max tokens').fill('12')
    page.get_by_label('Seed').locator('visible=true').fill('3')
    page.get_by_role('button', name='Write').click()
    page.get_by_text('tokens/s').wait_for()
  elif section == 'ask':
    page.get_by_label('Question').fill(EVIL)
    page.get_by_role('button', name='Ask').click()
    page.get_by_role('heading', name='Pages found').wait_for()
  elif section == 'recommend':
    page.get_by_label('Find a household').fill('u125')
    page.get_by_role('button', name=re.compile(r'^u125 \d+ purchases')).click()
    page.get_by_role('list', name='Recommended').locator('> li').first.wait_for()
  elif section == 'tokenizers':
    page.get_by_label('Text').locator('visible=true').fill(EVIL + ' é')
    page.get_by_text(f'{len((EVIL + " é").encode())} bytes, ').wait_for()
  elif section == 'names':
    page.get_by_role('list', name='Names', exact=True).get_by_role('listitem').first.wait_for()
  elif section == 'gradients':
    page.get_by_role('img', name='Graph of the expression').wait_for()
  elif section == 'estimate':
    page.get_by_role('list', name='A training step').wait_for()
  elif section == 'attention':
    page.get_by_label('Text').locator('visible=true').fill(EVIL[:20] + 'é')
    page.get_by_role('button', name='Look').click()
    page.get_by_text('22 tokens, 1 layer of 2 heads').wait_for()
  elif section == 'judge':
    page.get_by_label('Problem').select_option('2044/A')
    page.get_by_label('Program', exact=True).fill(f'print({EVIL!r})')
    page.get_by_role('button', name='Judge it').click()
    page.get_by_role('heading', name='WA wrong answer').wait_for()
  else:
    page.get_by_role('row', name='Requests a second').wait_for()


@pytest.mark.parametrize('section', SECTIONS)
def test_a_section_is_accessible_light_dark_and_on_a_phone(open_page, section, cage):
  if section == 'judge' and isinstance(cage, str):
    pytest.skip(cage)
  page = open_page(section)
  fill_section(page, section)
  check_with_axe(page)
  page.emulate_media(color_scheme='dark')
  check_with_axe(page)
  page.set_viewport_size(PHONE)
  check_with_axe(page)
  assert page.evaluate('document.documentElement.scrollWidth') <= PHONE['width']


def test_tokens_come_with_their_probability_and_the_same_seed_gives_the_same(open_page):
  page = open_page('write')
  fill_section(page, 'write')
  tokens = page.locator('#write-text .token')
  assert tokens.count() == 12
  assert page.locator('#write-text .prompt').inner_text() == EVIL[:12]
  written = tokens.all_inner_texts()
  tokens.nth(4).hover()
  assert tokens.nth(4).get_attribute('aria-selected') == 'true'
  rows = page.get_by_role('list', name='Most probable tokens here').get_by_role('listitem')
  assert 5 <= rows.count() <= 6
  assert page.locator('.bars .chosen').count() == 1
  assert page.get_by_role('list', name='Shading by probability').get_by_role('listitem').count() == 5
  page.get_by_role('button', name='Write').click()
  page.get_by_text('tokens/s').wait_for()
  assert tokens.all_inner_texts() == written
  page.reload()
  page.get_by_label('Max tokens').fill('0')
  page.get_by_role('button', name='Write').click()
  assert page.evaluate("document.getElementById('write-tokens').validity.valid") is False


def test_writing_is_stopped_and_an_error_within_a_stream_is_shown(open_page):
  page = open_page('write')
  choose_model(page, 'Model', 'slow')
  page.get_by_label('Prompt').fill('ab')
  page.get_by_role('button', name='Write').click()
  page.locator('#write-text .token').nth(1).wait_for()
  page.get_by_role('button', name='Stop').click()
  page.get_by_text(re.compile(r'Stopped after \d+ tokens?')).wait_for()
  assert page.get_by_role('button', name='Stop').is_disabled()
  assert page.evaluate('document.activeElement.id') == 'write-go'
  choose_model(page, 'Model', 'broken')
  page.get_by_role('button', name='Write').click()
  page.get_by_role('alert').get_by_text('the model failed').wait_for()
  page.get_by_text(re.compile(r'Broken off after \d+ tokens?')).wait_for()


def test_a_citation_leads_to_its_place_and_abstention_is_said(open_page):
  page = open_page('ask')
  choose_model(page, 'Corpus', 'docs')
  page.get_by_label('Question').fill('archives')
  page.get_by_label('Question').press('Enter')
  citations = page.get_by_role('list', name='Citations')
  said = citations.get_by_role('listitem').first.get_by_role('paragraph').inner_text()
  link = citations.get_by_role('button').first
  link.click()
  dialog = page.get_by_role('dialog')
  assert dialog.locator('mark').inner_text().strip('# ').split() == said.split()  # what it says, without markup
  assert dialog.get_by_role('heading').inner_text().startswith('All about')
  assert '🙂' in dialog.get_by_role('region').inner_text()  # two UTF-16 units before the cited place
  page.keyboard.press('Escape')
  assert not dialog.is_visible()
  assert link.evaluate('node => node === document.activeElement')
  assert page.get_by_role('list', name='Rank in each stage').first.get_by_role('listitem').count() >= 2
  choose_model(page, 'Corpus', 'unsure')
  page.get_by_role('button', name='Ask').click()
  page.get_by_role('heading', name='No answer').wait_for()
  page.get_by_text('The pages do not seem to know.').wait_for()


def test_a_purchase_changes_the_list_and_is_told(open_page):
  page = open_page('recommend')
  fill_section(page, 'recommend')
  items, history = page.locator('#recommend-items > li'), page.locator('#recommend-history > li')
  before = items.locator('.name').all_inner_texts()
  assert all(EVIL in each for each in before)
  assert all('%' in each for each in items.locator('.chance').all_inner_texts())
  household = page.get_by_role('button', name=re.compile(r'^u125 '))
  bought, past = before[3], int(household.inner_text().split()[1])
  with page.expect_request('**/v1/events') as posted:
    items.nth(3).get_by_role('button', name='Buy').click()
  assert posted.value.post_data_json['answer']
  history.first.get_by_text('just bought').wait_for()
  assert history.first.locator('.name').inner_text() == bought
  page.get_by_role('status').get_by_text(f'Bought {bought}. ').wait_for()
  moved = page.locator('#recommend-items .changed')
  after = [each.split(' ↑')[0].split(' ↓')[0].split(' new')[0] for each in items.locator('.name').all_inner_texts()]
  assert moved.count() == sum(one != other for one, other in zip(before, after, strict=True)) > 0
  assert page.evaluate("!!document.activeElement.closest('#recommend-items')")
  page.get_by_role('button', name=re.compile(f'^u125 {past + 1} purchases')).wait_for()


def test_tokenizers_stand_side_by_side_with_half_characters_as_bytes(open_page):
  page = open_page('tokenizers')
  page.get_by_label('Text').locator('visible=true').fill('é <b>')
  chips = page.get_by_role('list', name='Tokens of bytes').get_by_role('listitem')
  page.get_by_text('6 bytes, 5 characters, 2 tokenizers').wait_for()
  shown = [each.split('\n') for each in chips.all_inner_texts()]
  assert shown[:4] == [['C3', '195'], ['A9', '169'], ['␣', '32'], ['<', '60']]
  assert page.get_by_role('article', name='bytes').get_by_text('1.00 bytes a token').is_visible()
  assert page.get_by_role('article', name='pieces').is_visible()


def test_names_are_made_and_scored(open_page):
  page = open_page('names')
  names = page.get_by_role('list', name='Names', exact=True).locator('> li')
  names.nth(11).wait_for()
  page.get_by_label('score names').fill('dan')
  page.get_by_role('button', name='Score').click()
  page.get_by_text(re.compile(r'^1 name, ')).wait_for()
  letters = page.get_by_role('list', name='Letters of dan').get_by_role('listitem')
  assert letters.count() == 4
  assert all('%' in each for each in letters.all_inner_texts())
  page.get_by_label('score names').fill(EVIL)
  page.get_by_role('button', name='Score').click()
  page.get_by_role('alert').locator('visible=true').wait_for()
  assert names.count() == 0
  assert open_page.refused.pop() == 400


def test_an_estimate_says_what_bounds_it_and_what_does_not_fit(open_page):
  page = open_page('estimate')
  page.get_by_text('It fits; compute bounds a training step.').wait_for()
  told = httpx.post(f'{page.url.partition("/#")[0]}/v1/estimate', json={}).json()
  shown = page.get_by_role('row').filter(has=page.get_by_role('rowheader', name='parameters N', exact=True))
  row = next(row for group in told['groups'] for row in group['rows'] if row['name'] == 'parameters N')
  assert shown.first.inner_text().split('\t')[1] == row['shown']
  bars = page.get_by_role('list', name='A decoding step of one request').get_by_role('listitem')
  assert bars.count() == 3
  assert 'weights' in page.locator('.bounds .chosen').nth(1).inner_text()
  page.get_by_label('Size', exact=True).select_option('GPT-2 1.5B')
  assert page.get_by_label('Layers').input_value() == '48'
  page.get_by_label('Device', exact=True).select_option('l4')
  page.get_by_role('button', name='Estimate').click()
  page.get_by_text('It does not fit.').wait_for()
  page.get_by_label('Heads', exact=True).fill('7')
  page.get_by_role('button', name='Estimate').click()
  page.get_by_text('embed_dim 1600 is not divisible by num_heads 7').wait_for()
  assert page.locator('#estimate-out > *').count() == 0
  assert open_page.refused.pop() == 400


def test_a_head_and_a_token_are_chosen_on_the_map(open_page):
  page = open_page('attention')
  # The page has asked for its own first text by itself.
  own = lambda each: each.url.endswith('/v1/attention') and each.request.post_data_json['text'].startswith(EVIL[:20])
  with page.expect_response(own) as answer:
    fill_section(page, 'attention')
  weights = answer.value.json()['weights']
  page.get_by_role('button', name='1.2: layer 1, head 2').click()
  page.get_by_role('heading', name='Layer 1, head 2').wait_for()
  page.get_by_role('group', name='One token').get_by_role('button').nth(7).click()
  rows = page.get_by_role('list', name='What the token looks at most').get_by_role('listitem')
  row = weights[0][1][7]
  most = max(range(8), key=row.__getitem__)
  assert rows.first.locator('code .muted').inner_text().strip() == str(most + 1)
  assert rows.count() == 5
  assert page.locator('#attention-map rect').count() == sum(each >= 0.004 for line in weights[0][1] for each in line)
  page.get_by_label('Text').locator('visible=true').fill('x' * 65)
  page.get_by_role('button', name='Look').click()
  page.get_by_role('alert').get_by_text('the text has 65 tokens; 1 to 64 can be shown').wait_for()
  assert open_page.refused.pop() == 400


def test_a_program_is_judged_and_a_class_begins_with_its_methods(open_page, cage):
  if isinstance(cage, str):
    pytest.skip(cage)
  page = open_page('judge')
  fill_section(page, 'judge')
  assert page.get_by_role('row').filter(has_text='WA').count() >= 1
  page.get_by_label('Problem').select_option('lru_cache')
  assert page.get_by_label('Program', exact=True).input_value().startswith('class LRUCache:')
  assert page.locator('#judge-language option').all_inner_texts() == ['Python']
  page.get_by_label('Program', exact=True).fill('def')
  page.get_by_role('button', name='Judge it').click()
  page.get_by_role('region', name='What the compiler said').get_by_text('SyntaxError').wait_for()


def test_an_expression_is_drawn_with_its_gradients(open_page):
  page = open_page('gradients')
  page.get_by_role('textbox', name='Expression').fill('a * exp(b) + a')
  page.get_by_label('a', exact=True).fill('3')
  page.get_by_label('b', exact=True).fill('0')
  page.get_by_role('button', name='Compute').click()
  page.get_by_text('The value is 6.').wait_for()
  row = page.get_by_role('row').filter(has=page.get_by_role('rowheader', name='a', exact=True))
  assert row.inner_text().split('\t')[-1] == '2'
  assert page.locator('#gradients-graph svg rect').count() >= 5
  page.get_by_role('textbox', name='Expression').fill('a / <script>')
  page.get_by_role('button', name='Compute').click()
  page.get_by_role('alert').locator('visible=true').wait_for()
  assert open_page.refused.pop() == 400


def test_the_servers_figures_follow_what_is_asked(open_page):
  page = open_page('server')
  page.get_by_role('row', name='/v1/systems').wait_for()
  page.evaluate("fetch('v1/models')")
  page.get_by_role('row', name=re.compile('^Median latency.*ms.*ms.*ms')).wait_for()
  assert page.locator('#server-figures svg polyline').count() >= 5


def test_it_works_by_keyboard_alone(open_page):
  page = open_page()
  page.get_by_text('Ready').wait_for()
  page.keyboard.press('Tab')
  assert page.evaluate('document.activeElement.textContent') == 'Skip to the content'
  page.keyboard.press('Enter')
  assert page.evaluate('document.activeElement.id') == 'main'

  def tab_to(condition, *, key='Tab', most=40):
    for _ in range(most):
      page.keyboard.press(key)
      if page.evaluate(f'(() => {{ const at = document.activeElement; return {condition}; }})()'):
        style = page.evaluate('getComputedStyle(document.activeElement).outlineStyle')
        assert style != 'none', condition
        return
    raise AssertionError(f'{condition}: not reached by {key}')

  tab_to("at.id === 'write-prompt'")
  page.keyboard.type('x')
  page.keyboard.press('Control+Enter')
  page.get_by_text('tokens/s').wait_for()
  tab_to("at.classList.contains('token')")
  page.keyboard.press('ArrowRight')
  page.keyboard.press('ArrowRight')
  assert page.evaluate('document.activeElement.dataset.at') == '2'
  assert page.locator('.token[tabindex="0"]').count() == 1
  page.keyboard.press('End')
  page.keyboard.press('Tab')  # out of the tokens at once: no trap
  assert page.evaluate("document.activeElement.closest('#write-text')") is None
  tab_to("at.getAttribute('href') === '#ask'", key='Shift+Tab')
  page.keyboard.press('Enter')
  page.locator('#ask-title:focus').wait_for()
  assert page.title().startswith('Ask')
  tab_to("at.id === 'ask-query'")
  page.keyboard.press('Enter')
  page.get_by_role('list', name='Citations').wait_for()
  tab_to("at.closest('.citations')")
  page.keyboard.press('Enter')
  page.get_by_role('dialog').wait_for()
  page.keyboard.press('Tab')
  page.keyboard.press('Tab')
  page.keyboard.press('Escape')
  assert page.evaluate("!!document.activeElement.closest('.citations')")


def test_a_key_is_asked_for_and_what_is_not_served_names_its_command(open_page):
  commands = {'texts': 'python -m experiments.gpt2'}
  services = Services(tokenizers={'bytes': ByteTokenizer()}, commands=commands)
  with serving(services, Limits(api_keys=('secret',))) as at:
    page = open_page(at=at)
    page.get_by_label('API key').fill('wrong')
    page.keyboard.press('Enter')
    page.get_by_role('heading', name='not accepted').wait_for()
    check_with_axe(page)
    page.get_by_label('API key').fill('secret')
    page.keyboard.press('Enter')
    page.get_by_text('1 tokenizer').wait_for()  # the first section that is served
    page.get_by_role('link', name='Write').click()
    page.get_by_role('region', name='Write').get_by_text('python -m experiments.gpt2').wait_for()
    check_with_axe(page)
    assert 'secret' not in page.evaluate('JSON.stringify([localStorage, sessionStorage, document.cookie])')
    assert set(open_page.refused) == {401}
    open_page.refused.clear()


def test_files_are_sent_once_and_may_load_nothing_else(address):
  import httpx

  answer = httpx.get(f'{address}/')
  assert answer.headers['content-security-policy'].startswith("default-src 'self'; ")
  assert re.findall(r'<script(?![^>]*src=)|style="|onclick', answer.text) == []
  again = httpx.get(f'{address}/', headers={'If-None-Match': answer.headers['etag']})
  assert (again.status_code, again.content) == (304, b'')
  assert httpx.get(f'{address}/page/app.py').status_code == 404
