"""Points in the plane: convex hull (Andrew, 1979), twice its area, its greatest distance. Exact for integers."""

from collections.abc import Sequence

type Point = tuple[int, int]


def cross(o: Point, a: Point, b: Point) -> int:
  """Positive when o, a, b turn left."""
  return (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0])


def convex_hull(points: Sequence[Point]) -> list[Point]:
  """The corners against the clock from the lowest x (then y) on, none of them between two others. O(n log n)."""
  ordered = sorted(set(points))
  if len(ordered) < 3:
    return ordered

  def chain(half: Sequence[Point]) -> list[Point]:
    hull: list[Point] = []
    for point in half:
      while len(hull) > 1 and cross(hull[-2], hull[-1], point) <= 0:
        hull.pop()
      hull.append(point)
    return hull[:-1]

  return chain(ordered) + chain(ordered[::-1])


def doubled_area(polygon: Sequence[Point]) -> int:
  """Twice the area, positive against the clock (the shoelace formula)."""
  following = [*polygon[1:], *polygon[:1]]
  return sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(polygon, following, strict=True))


def squared_diameter(points: Sequence[Point]) -> int:
  """The square of the greatest distance, by two parallel lines that turn around the hull (Shamos, 1978)."""
  hull = convex_hull(points)
  square = lambda a, b: (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2
  if len(hull) < 3:
    return square(hull[0], hull[-1])
  best, far = 0, 1
  for i, corner in enumerate(hull):
    after = hull[(i + 1) % len(hull)]
    while cross(corner, after, hull[(far + 1) % len(hull)]) > cross(corner, after, hull[far]):
      far = (far + 1) % len(hull)
    best = max(best, square(corner, hull[far]), square(after, hull[far]))
  return best
