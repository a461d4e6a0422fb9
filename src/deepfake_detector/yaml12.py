"""YAML text -> plain Python values, numbers read as YAML 1.2 has them."""

from __future__ import annotations

import re
from typing import Any

import yaml


class _Yaml12(yaml.SafeLoader):
    """`dvc exp run -S` writes 1e-05, which PyYAML, of YAML 1.1, takes for a text."""


_Yaml12.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9.]*[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def load_yaml(text: str) -> Any:
    """Read one document.

    Raises:
        yaml.YAMLError: the text is no YAML.
    """
    return yaml.load(text, _Yaml12)  # a SafeLoader
