"""Measurements of this node beside its peer, Galaxy's own Pulsar server. See ``README.md`` here; run ``make bench``."""
