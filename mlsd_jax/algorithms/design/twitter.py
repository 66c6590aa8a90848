"""Feeds of messages.

`post_tweet(user, tweet)` posts, `get_news_feed(user)` answers the ten latest tweets of the user and of those he
follows, latest first; `follow(user, other)` and `unfollow(user, other)` change whom he follows. Following oneself, or
twice, changes nothing. A feed costs what the number of followed users asks for, not what the number of tweets does."""

import heapq
import random

from mlsd_jax.algorithms.problem import Call, Problem

SHOWN = 10


class Twitter:
  """The latest tweets of each followed user are merged lazily."""

  def __init__(self):
    self.posts: dict[int, list[tuple[int, int]]] = {}
    self.followed: dict[int, set[int]] = {}
    self.count = 0

  def post_tweet(self, user: int, tweet: int) -> None:
    self.count += 1
    self.posts.setdefault(user, []).append((-self.count, tweet))

  def get_news_feed(self, user: int) -> list[int]:
    users = {user, *self.followed.get(user, ())}
    heap = [(*self.posts[each][-1], each, len(self.posts[each]) - 1) for each in users if each in self.posts]
    heapq.heapify(heap)
    feed: list[int] = []
    while heap and len(feed) < SHOWN:
      _, tweet, each, place = heap[0]
      feed.append(tweet)
      if place:
        heapq.heapreplace(heap, (*self.posts[each][place - 1], each, place - 1))
      else:
        heapq.heappop(heap)
    return feed

  def follow(self, user: int, other: int) -> None:
    self.followed.setdefault(user, set()).add(other)

  def unfollow(self, user: int, other: int) -> None:
    self.followed.get(user, set()).discard(other)


class Oracle:
  """One list of all posts."""

  def __init__(self):
    self.posts, self.pairs = [], set()

  def post_tweet(self, user, tweet):
    self.posts.append((user, tweet))

  def get_news_feed(self, user):
    feed = []
    for author, tweet in reversed(self.posts):
      if author == user or (user, author) in self.pairs:
        feed.append(tweet)
      if len(feed) == 10:
        break
    return feed

  def follow(self, user, other):
    self.pairs.add((user, other))

  def unfollow(self, user, other):
    self.pairs.discard((user, other))


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  users = max(2, size // 4)
  calls: list[Call] = [('Twitter', [])]
  followed: dict[int, list[int]] = {}
  for number in range(count):
    user, kind = rng.randrange(users), rng.random()
    if kind < 0.4:
      calls.append(('post_tweet', [user, number]))
    elif kind < 0.6:
      calls.append(('get_news_feed', [user]))
    elif kind < 0.8 and len(followed.get(user, ())) < 8:
      other = rng.randrange(users)
      followed.setdefault(user, []).append(other)
      calls.append(('follow', [user, other]))
    else:
      other = followed[user].pop() if followed.get(user) else rng.randrange(users)
      calls.append(('unfollow', [user, other]))
  return calls


PROBLEM = Problem(
  Twitter, Oracle, operations, {'post_tweet': '1', 'get_news_feed': '1', 'follow': '1', 'unfollow': '1'}
)
