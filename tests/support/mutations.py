"""JSON that is nearly what was written: one part replaced, renamed or of another kind."""

from __future__ import annotations

import copy

from hypothesis import strategies as st

HUGE = [-1, 0, 1, 2, 3, 4, 2**31, 2**32 + 1, 2**61, 2**62, 2**63, 2**64, 10**30]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.sampled_from(HUGE)
    | st.text(max_size=3)
    | st.sampled_from(["F32", "F64", "BF16"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@st.composite
def changed(draw, value):
    """The JSON value with one part replaced, removed or added."""
    value = copy.deepcopy(value)
    place = value
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        if not keys:
            return value
        key = draw(st.sampled_from(list(keys)))
        if not isinstance(place[key], (dict, list)) or draw(st.booleans()):
            break
        place = place[key]
    if isinstance(place, dict) and draw(st.booleans()):
        old = place.pop(key)
        place[draw(st.text(max_size=3))] = old
    else:
        place[key] = draw(JSON)
    return value
