"""A YAML file -> its content, without anchors and of bounded depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.tokens import (
    AnchorToken,
    BlockEndToken,
    BlockMappingStartToken,
    BlockSequenceStartToken,
    FlowMappingEndToken,
    FlowMappingStartToken,
    FlowSequenceEndToken,
    FlowSequenceStartToken,
)

YAML_STARTS = (BlockMappingStartToken, BlockSequenceStartToken, FlowMappingStartToken, FlowSequenceStartToken)
YAML_ENDS = (BlockEndToken, FlowMappingEndToken, FlowSequenceEndToken)
MAX_YAML_DEPTH = 30  # params.yaml has 5 levels; parsing takes time that grows with the square of the depth


def read_yaml(path: Path) -> Any:
    """Read a YAML 1.2 document without anchors: `1e-05`, as `dvc exp run -S` writes it, is a number.

    Raises:
        ruamel.yaml.error.YAMLError: the file is no YAML, is nested too deeply, or has an anchor: a few of them
            expand to gigabytes.
        OSError, UnicodeDecodeError: it cannot be read.
    """
    text, depth = path.read_text(encoding="utf-8"), 0
    for token in YAML(typ="safe", pure=True).scan(text):
        depth += isinstance(token, YAML_STARTS) - isinstance(token, YAML_ENDS)
        line = token.start_mark.line + 1
        if isinstance(token, AnchorToken):
            raise YAMLError(f"anchor &{token.value} in line {line}: write the value out")
        if depth > MAX_YAML_DEPTH:
            raise YAMLError(f"line {line} is nested deeper than {MAX_YAML_DEPTH} levels")
    return YAML(typ="safe", pure=True).load(text)
