"""CQL2 filters: parsed by the library of that name, compiled here to SQL for both databases.

grammar   what is written → a tree of CQL2 JSON, within its caps
values    literals, properties and arithmetic → SQL of a known kind
temporal, spatial, arrays   the functions of each
compiler  the whole → one condition
implied   the place and the times that it says
"""

from catalog.filters.compiler import condition
from catalog.filters.implied import implied

__all__ = ["condition", "implied"]
