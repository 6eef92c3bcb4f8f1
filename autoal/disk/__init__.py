"""Pools on disk: read as if an enemy had written them, mapped rather than loaded, written whole or not at all."""
