"""Calls of tools in an answer, and what a calculator may do."""

import ast
import itertools
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.errors import UserError
from mlsd_jax.language_model import forms
from mlsd_jax.language_model.chat import Speaker, exact_answers
from mlsd_jax.language_model.chat_template import CHATML
from mlsd_jax.language_model.tools import calculate, calculator


@given(st.integers(-999, 999), st.integers(-999, 999), st.sampled_from([('+', operator.add), ('*', operator.mul)]))
def test_sums_and_products_are_pythons(a, b, sign):
  assert calculate(f'({a}) {sign[0]} ({b})') == str(sign[1](a, b))


@pytest.mark.parametrize(
  'expression',
  ['__import__("os")', 'a + 1', '9**9**9', '(1).real', '[1]', '1 if 1 else 2', '1/0', '', '1' * 300, '10**20', 'True'],
)
def test_what_is_no_arithmetic_is_told_to_the_model_and_not_run(expression):
  assert calculate(expression).startswith('error: ')


def test_products_do_not_grow_without_bound():
  assert calculate('*'.join(['999999'] * 20)) == 'error: the number is too large'


def test_a_message_is_a_call_or_none():
  assert calculator(' calculate: 6 * 7\n') == '42'
  assert calculator('I calculate: 6 * 7') is None


def test_forms_have_one_right_answer_each_and_no_two_are_alike():
  made = list(forms.make_conversations(300))
  assert len({talk[0]['content'] for talk in made}) == 300
  assert made == list(itertools.islice(forms.make_conversations(400), 300))
  for talk in made:
    if talk[0]['content'].startswith('What is '):
      expression = talk[0]['content'].removeprefix('What is ').removesuffix('?')
      assert int(talk[-1]['content']) == eval(compile(ast.parse(expression, mode='eval'), '', 'eval'))
      assert calculator(talk[1]['content']) == talk[2]['content'] == talk[-1]['content']
    else:
      assert len(talk[-1]['content']) == 10


class _Scripted(Speaker):
  """Says what it is told to say, whatever the model."""

  def say(self, conversations, *, seed=0, on_text=None):
    answers = []
    for number, messages in enumerate(conversations):
      told = messages[-1]
      answers.append(told['content'] if told['role'] == 'tool' else told['content'].removeprefix('say '))
      if on_text is not None:
        on_text(number, answers[-1])
    return answers


def test_a_call_is_answered_and_the_model_goes_on_from_the_result():
  speaker = _Scripted(None, None, None, CHATML)
  heard, results = [], []
  asked = [[{'role': 'user', 'content': 'say hello'}], [{'role': 'user', 'content': 'say calculate: 2 + 3'}]]
  said = speaker.answer(
    asked, ['calculator'], on_text=lambda *each: heard.append(each), on_result=lambda *each: results.append(each)
  )
  assert [each['role'] for each in said[1]] == ['assistant', 'tool', 'assistant']
  assert [each[-1]['content'] for each in said] == ['hello', '5']
  assert heard == [(0, 'hello'), (1, 'calculate: 2 + 3'), (1, '5')]
  assert results == [(1, '5')]
  assert speaker.answer(asked)[1] == [{'role': 'assistant', 'content': 'calculate: 2 + 3'}]
  with pytest.raises(UserError, match="names 'oven'"):
    speaker.answer(asked, ['oven'])


def test_a_model_that_calls_without_end_is_stopped():
  class Endless(_Scripted):
    def say(self, conversations, *, seed=0, on_text=None):
      return ['calculate: 1 + 1' for _ in conversations]

  said = Endless(None, None, None, CHATML).answer([[{'role': 'user', 'content': 'x'}]], ['calculator'])
  assert 2 < len(said[0]) <= 10


def test_answers_are_compared_to_the_letter_with_what_a_conversation_ends_with():
  talks = [
    [{'role': 'user', 'content': 'say yes'}, {'role': 'assistant', 'content': wanted}] for wanted in ('yes', 'Yes')
  ]
  assert [right for *_, right in exact_answers(_Scripted(None, None, None, CHATML), talks)] == [True, False]
