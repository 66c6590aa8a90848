"""Task, sampling, search, statistics and counted n-grams of makemore."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.data import fetch
from mlsd_jax.data.batches import drawn
from mlsd_jax.data.words import WordList, load_words
from mlsd_jax.errors import UserError
from mlsd_jax.makemore import hyperparameter_search, ladder, new_words, rungs, statistics, task
from mlsd_jax.models import name_models
from mlsd_jax.models.name_models import NameConfig
from mlsd_jax.models.ngram import NGram

WORDS = WordList.split('few', [a + b + c for a, b, c in itertools.product(['', 'b', 'ab'], 'abc', ['', 'c', 'ca'])])
CONFIG = NameConfig('mlp', WORDS.vocab_size, WORDS.length, context=2, embed_dim=3, hidden_dim=6)


def test_the_names_of_makemore():
  if fetch.locate('names', 'names.txt') is None:
    pytest.skip('names.txt is not on this machine')
  name, listed = load_words('names')
  assert (name, len(listed), listed[:3]) == ('names', 32_033, ['emma', 'olivia', 'ava'])


def test_loss_is_the_mean_over_characters_and_ends():
  params = name_models.init(jax.random.key(0), CONFIG)
  batch = WORDS.encode(['b', 'abca'])
  loss, metrics = task.name_task(CONFIG, batch_size=2).loss(params, batch, None)
  logits = name_models.apply(params, batch['tokens'][:, :-1], CONFIG)
  log_probs = jax.nn.log_softmax(logits)
  expected = [-log_probs[0, t, batch['tokens'][0, t + 1]] for t in range(2)]
  expected += [-log_probs[1, t, batch['tokens'][1, t + 1]] for t in range(5)]
  assert float(loss) == pytest.approx(np.mean(expected), rel=1e-5)
  assert float(metrics['loss'][1]) == 7
  assert task.mean_loss(params, WORDS, ['b', 'abca'], CONFIG) == pytest.approx(float(loss), rel=1e-5)
  scores = task.score(params, WORDS, ['b', 'abca'], CONFIG)
  assert scores[0, 2:].sum() == 0
  np.testing.assert_allclose([*scores[0, :2], *scores[1, :5]], expected, rtol=1e-4)


def test_words_are_drawn_by_the_models_probabilities():
  config = NameConfig('bigram', WORDS.vocab_size, WORDS.length)
  logits = np.array([[-9, 0, 1, -9], [2, -9, 0, 0], [0, 1, -9, -9], [0, 0, 0, 0]], np.float32)
  made = new_words.make_words({'logits': jnp.asarray(logits)}, WORDS, config, 4000, jax.random.key(0))
  probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  assert np.mean([word[:1] == 'b' for word in made]) == pytest.approx(probs[0, 2], abs=0.03)
  starts_a = [word for word in made if word[:1] == 'a']
  assert np.mean([word == 'a' for word in starts_a]) == pytest.approx(probs[1, 0], abs=0.03)
  assert max(map(len, made)) <= WORDS.length - 1
  assert new_words.novel_share(['zz', WORDS.train[0]], WORDS) == 0.5


class TestNGram:
  words = WordList.split('x', ['ab', 'aab', 'ba', 'b', 'abab', 'bb', 'aa', 'a'])
  encoded = words.encode(words.train)

  @pytest.mark.parametrize('order', [1, 2, 3])
  def test_every_context_has_a_distribution(self, order):
    model = NGram.count(self.encoded['tokens'], self.encoded['weights'], 3, order)
    for table in model.tables:
      np.testing.assert_allclose(table.sum(1), 1.0)
      assert (table > 0).all()

  def test_bigrams_are_witten_bells(self):
    model = NGram.count(self.encoded['tokens'], self.encoded['weights'], 3, 2)
    pairs = [(a, b) for word in self.words.train for a, b in itertools.pairwise([0, *map('_ab'.index, word), 0])]
    nexts = [b for _, b in pairs]
    for context, token in itertools.product(range(3), repeat=2):
      unigram = (nexts.count(token) + len(set(nexts)) / 3) / (len(nexts) + len(set(nexts)))
      after = [b for a, b in pairs if a == context]
      expected = (after.count(token) + len(set(after)) * unigram) / (len(after) + len(set(after)))
      assert model.tables[1][context, token] == pytest.approx(expected)

  def test_losses_and_samples(self):
    model = NGram.count(self.encoded['tokens'], self.encoded['weights'], 3, 3)
    losses = model.losses(self.words.encode(['ab'])['tokens'])[0]
    table = model.tables[2]
    np.testing.assert_allclose(losses[:3], -np.log([table[0, 1], table[1, 2], table[1 * 3 + 2, 0]]))
    rng = np.random.default_rng(0)
    made = [tuple(model.sample(rng, 4)) for _ in range(3000)]
    assert np.mean([word[:1] == (1,) for word in made]) == pytest.approx(table[0, 1], abs=0.03)

  def test_tables_that_no_memory_holds_are_refused(self):
    with pytest.raises(UserError, match='order 5 over 100 symbols'):
      NGram.count(self.encoded['tokens'], self.encoded['weights'], 100, 5)
    with pytest.raises(UserError, match='order 0'):
      NGram.count(self.encoded['tokens'], self.encoded['weights'], 3, 0)


class TestRungs:
  def test_a_rung_counts_as_far_as_its_words_allow(self):
    many = WordList.split('many', [chr(0x4E00 + i) * 2 for i in range(100)])
    settings = dict(kind='ngram', order=5, published=2.0)
    assert rungs.counted_order(settings, many) == 3
    assert rungs.counted_order(settings, WORDS) == 5
    model = ladder.load_rung(dict(settings, order=3), WORDS, 'nowhere')
    assert model.mean_loss(WORDS.val) < np.log(WORDS.vocab_size)

  @pytest.mark.parametrize(
    ('settings', 'message'),
    [
      (dict(kind='mlp', embed_dims=5), "'mlp' has no setting 'embed_dims'"),
      (dict(kind='mlp', order=5), "'mlp' has no setting 'order'"),
      (dict(kind='mlp', vocab_size=5), "'mlp' has no setting 'vocab_size'"),
      (dict(embed_dim=5), 'kind'),
      (dict(kind='cnn'), "no model 'cnn'"),
    ],
  )
  def test_a_setting_that_a_model_does_not_have_is_refused(self, settings, message):
    with pytest.raises(UserError, match=message):
      rungs.model_config(settings, WORDS)

  @pytest.mark.parametrize(
    ('settings', 'message'), [(dict(steps=5), "'ngram' has no setting 'steps'"), (dict(order=0), 'order 0')]
  )
  def test_so_is_one_that_counting_does_not_have(self, settings, message):
    with pytest.raises(UserError, match=message):
      rungs.counted_order(dict(settings, kind='ngram'), WORDS)


class TestSearch:
  trials = hyperparameter_search.Trials(
    np.array([1e-2, 3e-2, 1e-2, 1e9], np.float32), np.array([6, 6, 3, 6], np.int32), np.array([0, 0, 1, 0], np.int32)
  )

  def test_trials_side_by_side_are_trials_alone(self):
    together = hyperparameter_search.search(self.trials, WORDS, CONFIG, steps=30, batch_size=4)
    for i in range(3):
      alone = hyperparameter_search.Trials(
        *(getattr(self.trials, name)[i : i + 1] for name in ('learning_rate', 'width', 'seed'))
      )
      np.testing.assert_allclose(
        hyperparameter_search.search(alone, WORDS, CONFIG, steps=30, batch_size=4), together[i], rtol=1e-4
      )
    assert not together[3] < 10  # a rate that large leads nowhere

  def test_an_untrained_trial_has_the_loss_of_its_model(self):
    losses = hyperparameter_search.search(self.trials, WORDS, CONFIG, steps=0, batch_size=4)
    for i in range(len(self.trials)):
      config = dataclasses.replace(CONFIG, hidden_dim=int(self.trials.width[i]))
      params = name_models.init(jax.random.key(int(self.trials.seed[i])), config)
      assert losses[i] == pytest.approx(task.mean_loss(params, WORDS, WORDS.val, config), rel=1e-5)

  def test_drawn_trials(self):
    trials = hyperparameter_search.Trials.draw(500, low=1e-3, high=1e-1, widths=(4, 8))
    assert 1e-3 <= trials.learning_rate.min() < 2e-3
    assert 5e-2 < trials.learning_rate.max() <= 0.1
    assert set(trials.width.tolist()) == {4, 8}
    for options in (dict(low=0.0, high=1.0), dict(low=1.0, high=0.1), dict(low=0.1, high=float('nan'))):
      with pytest.raises(UserError, match='cannot draw'):
        hyperparameter_search.Trials.draw(3, widths=(4,), **options)
    with pytest.raises(UserError, match='without normalisation'):
      hyperparameter_search.search(trials, WORDS, dataclasses.replace(CONFIG, norm=True), steps=1, batch_size=1)

  def test_the_finder_stops_before_the_loss_explodes(self):
    rates, losses, suggestion = hyperparameter_search.find_learning_rate(
      WORDS, CONFIG, high=1e3, steps=300, batch_size=16
    )
    assert len(rates) == len(losses) == 300
    assert losses[-1] > losses.min() + 0.5
    assert 1e-3 < suggestion < 1.0


def test_statistics_tell_saturated_from_healthy():
  config = dataclasses.replace(CONFIG, embed_dim=20, kaiming=True)
  healthy, saturated = (
    statistics.watch(WORDS, config, naive=naive, learning_rate=0.1, steps=40, batch_size=8) for naive in (False, True)
  )
  assert saturated.saturated_share[0] > 0.5 > healthy.saturated_share[0]
  assert saturated.losses[0] > healthy.losses[0] + 0.3
  assert set(healthy.update_ratios) == {'embedding', 'kernel', 'out/kernel'}
  assert healthy.update_ratios['kernel'].shape == (40,)
  assert healthy.losses[-5:].mean() < healthy.losses[:5].mean()


def test_training_words_are_learned_through_fit(tmp_path):
  from mlsd_jax.training.config import TrainConfig
  from mlsd_jax.training.loop import fit
  from mlsd_jax.training.optimizers import OptimizerConfig

  optimizer = OptimizerConfig(learning_rate=1e-2)
  config = TrainConfig(steps=200, batch_size=8, steps_per_dispatch=50, log_every=0, optimizer=optimizer)
  before = task.mean_loss(name_models.init(jax.random.key(0), CONFIG), WORDS, WORDS.train, CONFIG)
  data = drawn(WORDS.encode(WORDS.train), 8)
  result = fit(task.name_task(CONFIG, batch_size=8), data, None, config, tmp_path)
  assert task.mean_loss(result.params, WORDS, WORDS.train, CONFIG) < before - 0.3
