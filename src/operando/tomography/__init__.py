"""From projections to volume."""
