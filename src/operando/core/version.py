"""The version, where every package may read it."""

VERSION = "0.1.0"
