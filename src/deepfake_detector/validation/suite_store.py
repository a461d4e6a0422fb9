"""gx/expectations -> suites; opening the context registers our expectations and action, and anchors its data folders.

Great Expectations finds an expectation or an action by its type, and only among classes that were imported.
great_expectations.yml names the store below, so opening the context imports them: no script has to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from great_expectations.data_context.data_context.abstract_data_context import AbstractDataContext
from great_expectations.data_context.store import expectations_store
from great_expectations.datasource.fluent.pandas_filesystem_datasource import PandasFilesystemDatasource

from deepfake_detector.validation import custom_expectations, data_docs

REGISTERED = (custom_expectations, data_docs)


class ExpectationsStore(expectations_store.ExpectationsStore):
    """The usual store, under the usual name: a context without a store of this name gets one in memory instead."""

    def __init__(
        self,
        store_backend: dict[str, Any] | None = None,
        runtime_environment: dict[str, Any] | None = None,
        store_name: str = "expectations_store",
        data_context: AbstractDataContext | None = None,
    ) -> None:
        super().__init__(store_backend, runtime_environment, store_name, data_context)
        if data_context is not None and data_context.root_directory is not None:
            _anchor_data_folders(data_context, Path(data_context.root_directory))


def _anchor_data_folders(context: AbstractDataContext, root: Path) -> None:
    """Let `base_directory` of a data source begin at the folder of great_expectations.yml, as all other paths there do.

    Else it would begin at the current directory. Stores are made before data sources.
    """
    for datasource in context.fluent_config.datasources:
        if isinstance(datasource, PandasFilesystemDatasource):
            datasource.data_context_root_directory = root
            datasource.__fields_set__.discard("data_context_root_directory")  # or saving would write it to the file
