"""``variant="coverage"``: one stage of the round per module; ``variant.py`` calls them in order."""
