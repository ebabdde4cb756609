"""The model: the rules of one sale in whole numbers and dictionaries, and the product walked beside it.

``bare``: the rules, sharing no code with the product. ``product``: the same transitions made by the product over its
engine. ``walk``: seeded random walks of either, and of both in step. ``rung``: walks until the time is over.
"""

from tests.ladder.model.rung import RUNG

__all__ = ["RUNG"]
