"""The state of a shop that goes on selling: purchases that come are counted at once, nothing is trained.

Counted within milliseconds (`add`), exactly as a snapshot at the same cut counts them: all that is known of the user
(history, pairs, categories, places, what was bought lately; the user's tower vector follows from the history), all that
is known of the item, sales in a place, and the companions of what lies in the user's basket of that day.

Counted when the state is taken anew (`retake`, each day of the shop and with new items): how often things come back
within a week, the companions of other items, and what nobody touched but the calendar. What is learnt (towers, factors,
index, blend, ranker) stays until the next build.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from mlsd_jax.errors import UserError
from mlsd_jax.recsys import serving
from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.known.snapshot import Snapshot
from mlsd_jax.recsys.live import new_items
from mlsd_jax.recsys.live.companions import Companions
from mlsd_jax.recsys.live.ledger import COLUMNS, Ledger
from mlsd_jax.recsys.live.user_rows import UserRows
from mlsd_jax.recsys.purchases.events import DAY, Dataset, vocabulary
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.serving import State
from mlsd_jax.recsys.stages import features
from mlsd_jax.recsys.stages.candidates import SOURCES, collect

_PLACE_DAYS = 30  # as snapshot.count_places has it
_FEATURES = ('price7', 'price30', 'price')  # what an item costs, the latest first


@dataclasses.dataclass(frozen=True)
class Purchase:
  """One purchase.

  Attributes:
    time: seconds since 1970.
    price: what one costs; None for what it cost lately.
  """

  user: str
  item: str
  time: int
  price: float | None = None
  quantity: float = 1.0


@dataclasses.dataclass
class View:
  """What a request is answered from.

  Attributes:
    users: rows by id; items: likewise.
    categories: codes of the finest categories by name, from 1 on.
    category_of: [I] the code of each item's, 0 for none.

  Look up rows first, then take `state`: a row that is there is in the state, as that is replaced first.
  """

  state: State
  users: dict[str, int]
  items: dict[str, int]
  categories: dict[str, int]
  category_of: np.ndarray

  @classmethod
  def of(cls, state: State) -> 'View':
    rows = lambda ids: {str(id_): row for row, id_ in enumerate(ids)}
    codes, names = vocabulary(state.items['category'])
    categories = {name: code for code, name in enumerate(names) if code}
    return cls(state, rows(state.users['id']), rows(state.items['id']), categories, codes)

  def row(self, user: str) -> int:
    """Of a user; one more than there are for one who is not known."""
    return self.users.get(user, len(self.state.users))


class LiveState:
  """A state to which purchases are added. One thread changes it, any number read `view`."""

  def __init__(
    self,
    state: State,
    cut: int | None = None,
    purchases: Sequence[Purchase] = (),
    items: Sequence[Mapping[str, str | None]] = (),
  ):
    """A state with purchases and items that came before, at another cut than that of its build if there is one.

    Raises:
      UserError: the state holds no purchases.
    """
    if state.purchases is None:
      raise UserError('it was saved by an earlier release, without its purchases; train again in a new --workdir')
    self._first, self._dataset = state.purchases, state.purchases
    self._built = new_items.grow(state, state.purchases.num_items)
    self._posted: list[pl.DataFrame] = []
    self._begin(self._built)
    if items:
      self.add_items(items)
    if purchases:
      self._posted.append(self._coded(purchases))
    if purchases or cut not in (None, state.snapshot.cut):
      self.retake(cut or state.snapshot.cut)

  @property
  def cut(self) -> int:
    """Purchases before it can be added."""
    return self.view.state.snapshot.cut

  def _begin(self, state: State) -> None:
    self._ledger = Ledger(self._dataset)
    self._numbers = {str(id_): number for number, id_ in enumerate(self._dataset.users['id'])}
    self._new_users: list[str] = []
    self._rows = UserRows.of(state.snapshot, state.histories, state.funnel.scorer.user_codes)
    self._companions = Companions(self._dataset.events, self._dataset.num_items)
    self._usual_place = int(self._dataset.events['place'].mode()[0])
    self.view = View.of(state)

  def dataset(self) -> Dataset:
    """All purchases, with the users and items that have come."""
    if not self._posted:
      return self._dataset
    users = self._dataset.users
    if self._new_users:
      users = pl.concat([users, pl.DataFrame({'id': self._new_users})], how='diagonal')
    events = pl.concat([self._dataset.events, *self._posted]).sort('time', 'user', 'item', 'quantity', 'price', 'place')
    return dataclasses.replace(self._dataset, events=events, users=users)

  def retake(self, cut: int) -> None:
    """Takes everything that is counted anew, at a cut that all purchases lie before."""
    self._dataset = self.dataset()
    self._posted = []
    self._begin(rebuild(self._built, self._dataset, cut))

  @property
  def newcomers(self) -> np.ndarray:
    """Rows of the items that came after the build."""
    return np.arange(self._first.num_items, len(self.view.state.items))

  def read_item(self, columns: Mapping[str, str | None]) -> pl.DataFrame:
    """A row of the item table.

    Raises:
      UserError: no id, a column that the table does not have, or a value that is none of it.
    """
    table = self._first.items
    unknown = [name for name in columns if name not in table.columns]
    if unknown:
      raise UserError(f'{unknown[0][:100]!r} is no column of the items; there are {", ".join(table.columns)}')
    id_ = columns.get('id')
    if not id_:
      raise UserError('id: an item has one')
    row = dict.fromkeys(table.columns) | {'name': id_} | dict(columns)
    try:
      return pl.DataFrame([row], dict.fromkeys(table.columns, pl.String)).cast(table.schema)
    except pl.exceptions.PolarsError as error:
      raise UserError(f'item {id_[:100]!r}: {str(error).splitlines()[0][:200]}') from None

  def add_items(self, items: Sequence[Mapping[str, str | None]]) -> None:
    """Adds items to choose from; one that is there already stays as it is.

    Raises:
      UserError: as `read_item`.
    """
    rows = {str(item['id']): self.read_item(item) for item in items if item.get('id') not in self.view.items}
    if rows:
      table = pl.concat([self._dataset.items, *rows.values()])
      self._dataset = dataclasses.replace(self._dataset, items=table)
      self._built = new_items.add_items(self._built, self._first, table)
      self.retake(self.cut)

  def add(self, purchases: Sequence[Purchase]) -> None:
    """Counts purchases before the cut, each at its own time. A user that is not known becomes one.

    Raises:
      UserError: an item that is not known, or a time that is not before the cut.
    """
    if not purchases:
      return
    view = self.view
    for each in purchases:
      if each.item not in view.items:
        raise UserError(f'no item has the id {each.item[:100]!r}')
      if each.time >= self.cut:
        raise UserError(f'the time {each.time} is not before {self.cut}')
    events = self._coded(purchases)
    self._ledger.add(events, promoted(self._dataset, events))
    self._posted.append(events)
    numbers = events['user'].unique(maintain_order=True).to_list()
    known = view.state.snapshot
    history = self._ledger.of('user', numbers, known.cut)
    first = self._rows.number
    ids = list(dict.fromkeys(each.user for each in purchases))
    before = np.array([view.row(id_) for id_ in ids])  # the row of nobody says what is not known of a new user
    self._rows.add(history, known, known['reorder_user'][before], self._rows.codes.view[before])
    arrays = dict(known.arrays) | {name: rows.view for name, rows in self._rows.arrays.items()}
    arrays |= self._count_items(known, events['item'].unique().to_list())
    arrays |= _count_places(known, events)
    keys = np.unique(events['user'].to_numpy().astype(np.int64) * 100_000 + events['time'].to_numpy() // DAY)
    changed = self._companions.change(history, keys)
    if len(changed):
      arrays |= self._companions.replace(arrays, changed)
    state = _with(view.state, dataclasses.replace(known, arrays=arrays, derived={}), self._rows)
    _make_ready(state, first)
    view.state = state
    view.users.update((id_, first + place) for place, id_ in enumerate(ids))

  def _coded(self, purchases: Sequence[Purchase]) -> pl.DataFrame:
    view = self.view
    for each in purchases:
      if each.user not in self._numbers:
        self._numbers[each.user] = len(self._numbers)
        self._new_users.append(each.user)
    usual = view.state.snapshot['place']
    places = [int(usual[view.row(each.user)]) for each in purchases]
    columns = {
      'user': [self._numbers[each.user] for each in purchases],
      'item': [view.items[each.item] for each in purchases],
      'time': [each.time for each in purchases],
      'price': [self.price_of(each.item) if each.price is None else each.price for each in purchases],
      'quantity': [each.quantity for each in purchases],
      'place': [self._usual_place if place < 0 else place for place in places],
    }
    return pl.DataFrame(columns).select(pl.col(name).cast(self._dataset.events.schema[name]) for name in COLUMNS)

  def price_of(self, item: str) -> float:
    """What an item cost lately; 0, which is unknown, if it was never sold."""
    known = self.view.state.snapshot['item'][self.view.items[item]]
    prices = (float(known[snapshot.ITEM.index(name)]) for name in _FEATURES)
    return next((price for price in prices if price > 0), 0.0)

  def _count_items(self, known: Snapshot, items: list[int]) -> dict[str, np.ndarray]:
    events = self._ledger.of('item', items, known.cut)
    names = ('user', 'age', 'day', 'price', 'quantity', 'promoted')
    history = pl.DataFrame({'item': events['local']} | {name: events[name] for name in names})
    pairs = history.group_by('user', 'item').agg(
      pl.col('age').min().alias('since'), pl.col('age').max().alias('first'), pl.col('day').n_unique().alias('days')
    )
    table = known['item'].copy()
    table[items] = snapshot.count_items(history, pairs, len(items))
    out = {'item': table}
    if known.promoted:
      share = known['promotion_item'].copy()
      share[items] = history.group_by('item').agg(pl.col('promoted').mean()).sort('item')['promoted'].to_numpy()
      out['promotion_item'] = share
    return out


def _make_ready(state: State, user: int) -> None:
  """What is made once a snapshot (known.snapshot.once) is made before anybody waits for it."""
  sizes = state.funnel.per_source
  sources = {name: source for name, source in SOURCES.items() if name in sizes}
  if sources:
    features.compute(state.snapshot, collect(state.snapshot, np.array([user]), sources, sizes))


def promoted(dataset: Dataset, events: pl.DataFrame) -> np.ndarray:
  """[E] bool: which events of a few were bought on promotion."""
  if dataset.promotions is None:
    return np.zeros(events.height, bool)
  items = events['item'].unique().implode()
  few = dataset.promotions.filter(pl.col('item').is_in(items))
  ordered = events.with_row_index('row').sort('time')
  flags = dataclasses.replace(dataset, events=ordered, promotions=few).on_promotion
  out = np.zeros(events.height, bool)
  out[ordered['row'].to_numpy()] = flags
  return out


def rebuild(built: State, dataset: Dataset, cut: int) -> State:
  """`built` with everything that is counted taken anew from `dataset`, whose first users and items are its own."""
  codes = built.funnel.scorer.user_codes
  new = np.repeat(codes[-1:], dataset.num_users + 1 - len(codes), axis=0)
  known = snapshot.take(dataset, cut)
  rows = UserRows.of(known, Histories.from_events(dataset.before(cut), dataset.num_users), np.concatenate([codes, new]))
  users, items = serving.name_tables(dataset)
  return dataclasses.replace(_with(built, known, rows), users=users, items=items, purchases=dataset)


def _with(state: State, known: Snapshot, rows: UserRows) -> State:
  retriever, codes = state.funnel.retriever, rows.codes.view
  histories = rows.histories()
  data = dataclasses.replace(retriever.data, histories=histories, user_codes=codes)
  funnel = dataclasses.replace(
    state.funnel,
    retriever=dataclasses.replace(retriever, data=data),
    scorer=state.funnel.scorer.with_users(codes),
  )
  return dataclasses.replace(state, funnel=funnel, snapshot=known, histories=histories)


def _count_places(known: Snapshot, events: pl.DataFrame) -> dict[str, np.ndarray]:
  """How often each item was bought at each place in 30 days, with some more purchases."""
  age = snapshot.date_events(events, known.cut)['age'].to_numpy()
  key = events['place'].to_numpy().astype(np.int64) * known.num_items + events['item'].to_numpy()
  new, counts = np.unique(key[age <= _PLACE_DAYS], return_counts=True)
  keys, table = known['place_key'], known['place_count'].copy()
  at = np.searchsorted(keys, new)
  there = np.zeros(len(new), bool)
  there[at < len(keys)] = keys[at[at < len(keys)]] == new[at < len(keys)]
  table[at[there], 0] += counts[there]
  place, added = at[~there], counts[~there, None].astype(np.float32)
  return {'place_key': np.insert(keys, place, new[~there]), 'place_count': np.insert(table, place, added, axis=0)}
