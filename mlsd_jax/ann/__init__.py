"""The nearest-neighbour index: ScaNN behind checks, with ids, filters, changes, and files that survive.

index = Index.build(vectors, ids, metric='cosine', made_by='all-MiniLM-L6-v2')
found = index.search(queries, 10, where={'language': 'en'})
found.ids[0], found.scores[0]
index.add(more, more_ids)
index.delete(['page 3'])
index.save('index')
index = Index.open('index', made_by='all-MiniLM-L6-v2')
"""

from mlsd_jax.ann.config import IndexConfig
from mlsd_jax.ann.index import Index
from mlsd_jax.ann.state import Neighbours

__all__ = ['Index', 'IndexConfig', 'Neighbours']
