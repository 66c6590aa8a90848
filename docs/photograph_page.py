"""Photographs the page of a server: each section on a desk, some in the dark and on a phone.

python -m experiments.serve                                     # serves what is photographed
python docs/photograph_page.py                                  # writes docs/images/page_*.png
python docs/photograph_page.py --address=http://127.0.0.1:9000 --folder=/tmp/pictures --every
"""

import argparse
import io
import pathlib
import shutil
from collections.abc import Callable

from PIL import Image
from playwright.sync_api import Page, sync_playwright

FOLDER = pathlib.Path(__file__).resolve().parent / 'images'
DESK, TALL, HIGH, PHONE = ({'width': w, 'height': h} for w, h in ((1240, 860), (1240, 930), (1240, 1060), (375, 812)))
SCALE = 1.5  # picture points a point of the page
COLOURS = 128  # of a picture: text on plain ground needs no more


# Texts that are written at once, and a search; nobody waits for them.
ASK_SOMETHING = """([model, texts]) => {
  const post = (path, body) => fetch(path, {
    method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body)});
  const prompt = 'The function returns the number of characters of the text that it is given, and None';
  for (let i = 0; i < texts; i++) post('v1/completions', {model, prompt, max_tokens: 60});
  post('v1/search', {query: 'how do I copy a folder'});
}"""


def write(page: Page) -> None:
  page.get_by_label('Prompt').fill('The function returns')
  page.get_by_label('Seed').locator('visible=true').fill('7')
  page.get_by_role('button', name='Write').click()
  page.get_by_text('tokens/s').wait_for()
  page.locator('#write-text .token').nth(6).click()


def attention(page: Page) -> None:
  page.get_by_label('Text').locator('visible=true').fill('ROMEO: I thank thee, and thy')
  page.get_by_role('button', name='Look').click()
  page.locator('#attention-heads button').last.click()
  page.locator('#attention-map svg').wait_for()


def judge(page: Page) -> None:
  page.get_by_label('Problem').select_option('2044/A')
  page.get_by_label('Program', exact=True).fill('for _ in range(int(input())):\n  n = int(input())\n  print(n - 1)\n')
  page.get_by_role('button', name='Judge it').click()
  page.locator('#judge-cases tr').first.wait_for()


def ask(page: Page) -> None:
  page.get_by_role('button', name='Ask').click()
  page.get_by_role('heading', name='Pages found').wait_for()


def citation(page: Page) -> None:
  ask(page)
  page.get_by_role('list', name='Citations').get_by_role('button').first.click()
  page.locator('mark').wait_for()


def recommend(page: Page) -> None:
  page.locator('#recommend-users button').nth(3).click()
  page.locator('#recommend-items li').first.wait_for()


def buy(page: Page) -> None:
  recommend(page)
  page.locator('#recommend-items button').nth(4).click()
  page.get_by_text('just bought').wait_for()


def tokenizers(page: Page) -> None:
  page.locator('#tokenizers-out article').first.wait_for()


def names(page: Page) -> None:
  page.locator('#names-out > li').first.wait_for()


def gradients(page: Page) -> None:
  page.get_by_role('img', name='Graph of the expression').wait_for()


def estimate(page: Page) -> None:
  page.get_by_role('list', name='A training step').wait_for()


def server(page: Page) -> None:
  page.get_by_role('row', name='Requests a second').wait_for()
  model = page.evaluate("fetch('v1/systems').then((answer) => answer.json())")['texts']['models'][0]['id']
  for second in range(100):  # so that the lines have something to show
    page.evaluate(ASK_SOMETHING, [model, 1 + second % 7])
    page.wait_for_timeout(1000)


# The pictures of the documentation: name -> section, what is done there, dark or light, the window.
PICTURES: dict[str, tuple[str, Callable[[Page], None], str, dict[str, int]]] = {
  'write': ('write', write, 'light', TALL),
  'attention': ('attention', attention, 'light', TALL),
  'ask': ('ask', citation, 'light', DESK),
  'recommend': ('recommend', buy, 'light', DESK),
  'tokenizers': ('tokenizers', tokenizers, 'dark', DESK),
  'judge': ('judge', judge, 'dark', HIGH),
  'server': ('server', server, 'dark', DESK),
  'phone': ('write', write, 'light', PHONE),
}
SECTIONS = {
  'write': write, 'attention': attention, 'judge': judge,
  'ask': ask, 'citation': citation, 'recommend': recommend, 'buy': buy, 'tokenizers': tokenizers,
  'names': names, 'gradients': gradients, 'estimate': estimate, 'server': server,
}  # fmt: skip


def every() -> dict[str, tuple[str, Callable[[Page], None], str, dict[str, int]]]:
  """All sections, light and dark, on a desk and on a phone."""
  places = {'citation': 'ask', 'buy': 'recommend'}
  return {
    f'{name}_{scheme}_{kind}': (places.get(name, name), do, scheme, window)
    for name, do in SECTIONS.items()
    for scheme in ('light', 'dark')
    for kind, window in (('desk', DESK), ('phone', PHONE))
  }


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--address', default='http://127.0.0.1:8000', help='of the server')
  parser.add_argument('--folder', type=pathlib.Path, default=FOLDER, help='where the pictures go')
  parser.add_argument('--every', action='store_true', help='all sections in all looks, whole, to be looked at')
  parser.add_argument('--only', default='', help='pictures whose name contains this')
  options = parser.parse_args()
  options.folder.mkdir(parents=True, exist_ok=True)
  with sync_playwright() as manager:
    browser = manager.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox'])
    for name, (section, do, scheme, window) in (every() if options.every else PICTURES).items():
      if options.only not in name:
        continue
      context = browser.new_context(
        viewport=window, color_scheme=scheme, reduced_motion='reduce', device_scale_factor=1.5
      )
      page = context.new_page()
      page.goto(f'{options.address}/#{section}')
      do(page)
      if window is not PHONE:
        page.evaluate('window.scrollTo(0, 0)')
      shot = page.screenshot(full_page=options.every)
      path = options.folder / f'page_{name}.png'
      Image.open(io.BytesIO(shot)).convert('RGB').quantize(COLOURS).save(path, optimize=True)
      print(f'{path}: {path.stat().st_size / 1024:.0f} kB')
      context.close()
    browser.close()


if __name__ == '__main__':
  main()
