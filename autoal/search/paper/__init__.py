"""The published AutoAL (Wang, Zhan & Huang, ICML 2025) with mechanics that work; see ``docs/algorithm-paper.md``."""
