"""Products of polynomials modulo 998244353 by the number-theoretic transform. O(n log n)."""

from collections.abc import Sequence

MODULUS = 998_244_353  # 119 * 2**23 + 1
ROOT = 3


def transform(values: list[int], *, inverse: bool = False) -> None:
  """In place, of a power of two of values, at most 2**23: their polynomial at the powers of a root of unity."""
  count = len(values)
  place = 0
  for i in range(1, count):  # bits of the places are reversed
    bit = count >> 1
    while place & bit:
      place ^= bit
      bit >>= 1
    place |= bit
    if i < place:
      values[i], values[place] = values[place], values[i]
  width = 2
  while width <= count:
    root = pow(ROOT, (MODULUS - 1) // width, MODULUS)
    if inverse:
      root = pow(root, -1, MODULUS)
    powers = [1] * (width // 2)
    for i in range(1, width // 2):
      powers[i] = powers[i - 1] * root % MODULUS
    for start in range(0, count, width):
      for i, power in enumerate(powers, start):
        other = values[i + width // 2] * power % MODULUS
        values[i + width // 2] = (values[i] - other) % MODULUS
        values[i] = (values[i] + other) % MODULUS
    width *= 2
  if inverse:
    scale = pow(count, -1, MODULUS)
    values[:] = [value * scale % MODULUS for value in values]


def multiply(a: Sequence[int], b: Sequence[int]) -> list[int]:
  """The coefficients of the product of two polynomials, neither of them empty."""
  length = len(a) + len(b) - 1
  size = 1 << (length - 1).bit_length()
  x, y = [*a, *[0] * (size - len(a))], [*b, *[0] * (size - len(b))]
  transform(x)
  transform(y)
  product = [p * q % MODULUS for p, q in zip(x, y, strict=True)]
  transform(product, inverse=True)
  return product[:length]
