"""The published AutoAL (Wang, Zhan & Huang, ICML 2025) with mechanics that work. ``docs/algorithm-paper.md`` maps its equations."""

from autoal.search.paper.variant import PaperSearch, SearchResult

__all__ = ["PaperSearch", "SearchResult"]
