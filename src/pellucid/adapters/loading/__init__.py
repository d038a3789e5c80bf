"""From a file or the name of a factory to a model, running no code nobody vouched for."""

from pellucid.adapters.loading.opening import (
    check_before_loading,
    find_attribute,
    is_spec,
    load,
    load_factory,
    load_file,
)

__all__ = [
    "check_before_loading",
    "find_attribute",
    "is_spec",
    "load",
    "load_factory",
    "load_file",
]
