"""Numbers: linear sieve, binomials modulo a prime, inverses, the Chinese remainder, primality, factors."""

import math
import random
from collections.abc import Sequence


def linear_sieve(limit: int) -> tuple[list[int], list[int]]:
  """(primes up to the limit; the least prime factor of each number, 0 for 0 and 1). Each composite is met once."""
  least, primes = [0] * (limit + 1), []
  for number in range(2, limit + 1):
    if not least[number]:
      least[number] = number
      primes.append(number)
    for prime in primes:
      if prime > least[number] or prime * number > limit:
        break
      least[prime * number] = prime
  return primes, least


class Binomials:
  """n choose k modulo a prime for n up to a limit below it: O(1) after O(limit)."""

  def __init__(self, limit: int, prime: int):
    self.prime = prime
    self.factorial = [1] * (limit + 1)
    for number in range(1, limit + 1):
      self.factorial[number] = self.factorial[number - 1] * number % prime
    self.inverse = [1] * (limit + 1)
    self.inverse[limit] = pow(self.factorial[limit], -1, prime)
    for number in range(limit, 0, -1):
      self.inverse[number - 1] = self.inverse[number] * number % prime

  def choose(self, n: int, k: int) -> int:
    if not 0 <= k <= n:
      return 0
    return self.factorial[n] * self.inverse[k] % self.prime * self.inverse[n - k] % self.prime


def extended_gcd(a: int, b: int) -> tuple[int, int, int]:
  """(g, x, y) with a x + b y = g, the greatest common divisor of two numbers that are not negative."""
  x, y, following_x, following_y = 1, 0, 0, 1
  while b:
    quotient = a // b
    a, b = b, a - quotient * b
    x, following_x = following_x, x - quotient * following_x
    y, following_y = following_y, y - quotient * following_y
  return a, x, y


def chinese_remainder(remainders: Sequence[int], moduli: Sequence[int]) -> tuple[int, int] | None:
  """(r, m): the numbers with all these remainders are those that leave r modulo m; None when there are none."""
  result, modulus = 0, 1
  for remainder, other in zip(remainders, moduli, strict=True):
    divisor, inverse, _ = extended_gcd(modulus, other)
    if (remainder - result) % divisor:
      return None
    step = (remainder - result) // divisor * inverse % (other // divisor)
    result += modulus * step
    modulus *= other // divisor
    result %= modulus
  return result, modulus


def is_prime(number: int) -> bool:
  """Miller and Rabin's test with bases that are proved to suffice below 2**64 (Jaeschke; Sorenson and Webster)."""
  bases = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
  if number < 2 or any(number % base == 0 for base in bases):
    return number in bases
  odd, twos = number - 1, 0
  while odd % 2 == 0:
    odd, twos = odd // 2, twos + 1
  for base in bases:
    power = pow(base, odd, number)
    if power in (1, number - 1):
      continue
    for _ in range(twos - 1):
      power = power * power % number
      if power == number - 1:
        break
    else:
      return False
  return True


def factorize(number: int) -> list[int]:
  """The prime factors of a number below 2**64, sorted (Pollard's rho with Floyd's cycle finding). O(number**(1/4))."""
  if number < 2:
    return []
  if is_prime(number):
    return [number]
  if number % 2 == 0:
    return [2, *factorize(number // 2)]
  rng = random.Random(number)
  while True:
    shift, slow = rng.randrange(1, number), rng.randrange(number)
    fast, divisor = slow, 1
    while divisor == 1:
      slow = (slow * slow + shift) % number
      fast = (fast * fast + shift) % number
      fast = (fast * fast + shift) % number
      divisor = math.gcd(slow - fast, number)
    if divisor != number:
      return sorted(factorize(divisor) + factorize(number // divisor))
