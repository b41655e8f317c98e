"""From images over photon energy to maps of phases and lithiation, with error bars: normalize, align, decompose, unmix."""

__all__: list[str] = []
