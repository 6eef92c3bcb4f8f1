"""What the coverage query asks for, and what else it might ask for, on small pools: docs/search-research.md.

``tables.py`` names what is compared, ``data.py`` where, ``task.py`` what a seed draws and what a round sees.
"""
