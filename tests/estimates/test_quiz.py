"""Questions: their own answers are right, others are not, the same seed asks the same."""

import math

import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.estimates import quiz


def test_the_shown_answer_is_right():
  asked = quiz.questions(120, seed=3)
  assert {question.topic for question in asked} == set(quiz.TOPICS)
  for question in asked:
    said = question.shown.replace(' a second', ' /s').replace('a second', '/s')
    assert question.off_by(said) < 0.006, question
    assert question.working
    assert math.isfinite(question.answer)
    assert question.answer > 0


def test_the_same_seed_asks_the_same_and_no_kind_twice_before_all():
  assert quiz.questions(9, 5) == quiz.questions(9, 5)
  assert quiz.questions(9, 5) != quiz.questions(9, 6)
  starts = [question.text.split()[0:3] for question in quiz.questions(12, 1)]
  assert len({tuple(start) for start in starts}) >= 10


def test_topics_are_chosen_or_refused():
  assert {question.topic for question in quiz.questions(6, 0, ('cache', 'judge'))} == {'cache', 'judge'}
  assert quiz.questions(6, 0, ('cache, judge',)) == quiz.questions(6, 0, ('cache', 'judge'))
  with pytest.raises(UserError, match="names 'sports'; there are cache"):
    quiz.questions(1, 0, ('sports',))


def test_kib_are_not_kb_and_other_units_are_refused():
  question = quiz.Question('cache', '', 2.0**30, 'bytes', ())
  assert question.off_by('1 GiB') == 0
  assert question.off_by('1 GB') == pytest.approx(1 - 1e9 / 2**30)
  with pytest.raises(UserError, match='is a time; a size'):
    question.off_by('5 ms')
