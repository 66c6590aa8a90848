"""Hardware as data: what a device can at most, from its maker's data sheet, and what an hour of it is listed at.

Peaks are of dense products (no sparsity), bandwidths one way. `links` is what a device sends to the others of its group
(NVLink, or a TPU's inter-chip links along one axis of the torus), `network` what it sends beyond it. The sheets: NVIDIA
H100, H200, A100, L4 and HGX B200; Google's pages of TPU v5e, v5p and v6e, with links as the JAX scaling book gives them
(jax-ml.github.io/scaling-book/tpus). A price is an order of magnitude: between providers it differs by a factor of
three, and --dollars_per_hour sets another.
"""

import dataclasses
import re
from collections.abc import Mapping

from mlsd_jax.compilation.device_count import count_devices
from mlsd_jax.errors import UserError

# On demand: the midpoint of what specialised clouds ask (mercatus-ai.com/blog/cloud-gpu-pricing); Google's list for its
# regions in the US, read in SkyPilot's catalogue (skypilot-org/skypilot-catalog, catalogs/v8/gcp/vms.csv at commit
# 006059e, read in November 2026: v5e $1.20, v5p $4.20, v6e $2.70 a chip); the least of 26 providers
# (packet.ai/blog/gpu-pricing-models-compared).
_MARKET, _GOOGLE, _G2, _LEAST = (
  'specialised clouds, May 2026',
  'Google Cloud, US, read in November 2026',
  'as Google Cloud listed about 2025, not checked',
  'packet.ai, June 2026',
)


@dataclasses.dataclass(frozen=True)
class Device:
  """One accelerator, or a machine without any.

  Attributes:
    name: as it is shown.
    peak: dtype -> FLOP/s of matrix products.
    memory: bytes.
    bandwidth: of the memory, bytes/s.
    links: bytes/s to the other devices of its group.
    group: devices that `links` join.
    network: bytes/s to devices of other groups.
    dollars_per_hour: listed.
    price: where the price is from, and of when.
  """

  name: str
  peak: Mapping[str, float]
  memory: float
  bandwidth: float
  links: float
  group: int
  network: float
  dollars_per_hour: float
  price: str

  def peak_of(self, dtype: str) -> float:
    """FLOP/s of products in `dtype`; a narrower one that the device does not have runs as the next wider that it has.

    Raises:
      UserError: a dtype of which no peak is known.
    """
    for name in _WIDENING.get(dtype, ()):
      if name in self.peak:
        return self.peak[name]
    raise UserError(f'no peak of {dtype!r} is known; there are {", ".join(_WIDENING)}')


_WIDENING = {'float32': ('float32',), 'bfloat16': ('bfloat16', 'float32'), 'int8': ('int8', 'bfloat16', 'float32')}
BYTES = {'float32': 4, 'bfloat16': 2, 'int8': 1}

# XLA runs float32 products at its default precision: as TF32 on NVIDIA's tensor cores, rounded to bfloat16 on a TPU.
DEVICES = {
  'h100': Device(
    'H100 SXM', {'float32': 495e12, 'bfloat16': 989e12, 'int8': 1979e12}, 80e9, 3.35e12, 450e9, 8, 50e9, 3.00, _MARKET
  ),
  'h200': Device(
    'H200 SXM', {'float32': 495e12, 'bfloat16': 989e12, 'int8': 1979e12}, 141e9, 4.8e12, 450e9, 8, 50e9, 4.00, _MARKET
  ),
  'a100': Device(
    'A100 SXM 80 GB',
    {'float32': 156e12, 'bfloat16': 312e12, 'int8': 624e12},
    80e9,
    2.04e12,
    300e9,
    8,
    25e9,
    1.30,
    _MARKET,
  ),
  'l4': Device(
    'L4',
    {'float32': 60e12, 'bfloat16': 121e12, 'int8': 242e12},
    24e9,
    300e9,
    32e9,
    8,
    12.5e9,
    0.71,
    _G2,
  ),
  'b200': Device(
    'B200 SXM',
    {'float32': 1.1e15, 'bfloat16': 2.25e15, 'int8': 4.5e15},
    180e9,
    7.7e12,
    900e9,
    8,
    50e9,
    3.75,
    _LEAST,
  ),
  'v5e': Device(
    'TPU v5e', {'float32': 197e12, 'bfloat16': 197e12, 'int8': 394e12}, 16e9, 819e9, 45e9, 256, 3.1e9, 1.20, _GOOGLE
  ),
  'v5p': Device(
    'TPU v5p',
    {'float32': 459e12, 'bfloat16': 459e12, 'int8': 918e12},
    95e9,
    2.765e12,
    90e9,
    8960,
    6.25e9,
    4.20,
    _GOOGLE,
  ),
  'v6e': Device(
    'TPU v6e',
    {'float32': 918e12, 'bfloat16': 918e12, 'int8': 1836e12},
    32e9,
    1.64e12,
    90e9,
    256,
    12.5e9,
    2.70,
    _GOOGLE,
  ),
}
HERE = 'here'
MOST_DEVICES = 10**6  # an order of magnitude above the largest machines there are


@dataclasses.dataclass(frozen=True)
class Hardware:
  """So many of one device."""

  device: Device
  count: int

  def __str__(self) -> str:
    return f'{self.count} x {self.device.name}'

  @property
  def dollars_per_hour(self) -> float:
    return self.count * self.device.dollars_per_hour

  def speed(self, ways: int) -> float:
    """Bytes/s at which a device sends to `ways` devices: its links while they fit one group, else the network."""
    return self.device.links if ways <= self.device.group else self.device.network


def split(spec: str) -> tuple[int, str]:
  """'8xh100' is (8, 'h100'); 'v5e:4x4', a TPU's topology as --mode=compile has it, (16, 'v5e'); 'here' (1, 'here').

  Raises:
    UserError: no such spelling, or no such device.
  """
  text = spec.strip().lower()
  if match := re.fullmatch(r'([a-z]\w*):(\d+(?:x\d+){1,2})', text):
    name, sides = match[1], match[2].split('x')
    if name in DEVICES and not name.startswith('v'):
      raise UserError(
        f'--hardware={spec!r}: {name} is a GPU, of which there is a number, such as 8x{name}; only TPUs have a '
        'topology, such as v5e:4x4'
      )
  elif match := re.fullmatch(r'(?:(\d+)\s*[x*]\s*)?([a-z]\w*)', text):
    name, sides = match[2], [match[1] or '1']
  if not match or (name not in DEVICES and name != HERE):
    raise UserError(
      f'--hardware={spec!r} is unknown; it is a number and a device, such as 8xh100, or the topology of a TPU, such as '
      f'v5e:4x4; there are {", ".join(DEVICES)} and {HERE}'
    )
  count = count_devices(spec, sides, MOST_DEVICES, 'estimates are made')
  if count < 1 or (name == HERE and count > 1):
    raise UserError(f'--hardware={spec!r}: {"one machine is here" if count else "at least one device"}')
  return count, name


def find(spec: str, dollars_per_hour: float | None = None) -> Hardware:
  """The hardware that '8xh100' names.

  Args:
    dollars_per_hour: of one device; None is the listed price.

  Raises:
    UserError: it is unknown, or 'here', which is measured (calibration.py).
  """
  count, name = split(spec)
  if name == HERE:
    raise UserError(f'{HERE!r} is measured, and not in the table')
  device = DEVICES[name]
  if dollars_per_hour is not None:
    device = dataclasses.replace(device, dollars_per_hour=dollars_per_hour, price='as given')
  return Hardware(device, count)
