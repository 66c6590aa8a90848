"""Programs compiled for machines that are not here: do they compile, do they fit, what do devices say to each other.

from mlsd_jax.compilation import compile_program, describe, open_hardware, train_program
print(describe(compile_program(train_program(task, config, batch), open_hardware('8xh100'))))
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
