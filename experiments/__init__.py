import sys

if sys.argv[:1] == ['-m']:  # python -m experiments.NAME, and not an import by a test: the first instruction of all
  from experiments import process

  process.use_huge_pages()
  process.keep_products_in_their_thread()
  process.begin()
