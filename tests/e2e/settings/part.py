"""Hostnames for components that run on one machine: the name of the component."""

import os


def name() -> str:
    return os.environ["PART"]
