"""How images get labels: direct, dynamic, soft and transductive, a file each.

A method has its own passes over the images, its own outcome, and says what it needs. What all share is in
`material.py` (what they work on and how an outcome is written) and `signs.py` (what a user should be told).
"""

from __future__ import annotations

from annotate.methods.direct import DIRECT
from annotate.methods.dynamic import DYNAMIC
from annotate.methods.material import Method
from annotate.methods.soft import SOFT
from annotate.methods.transductive import TRANSDUCTIVE

METHODS: dict[str, Method] = {method.name: method for method in (DIRECT, DYNAMIC, SOFT, TRANSDUCTIVE)}
