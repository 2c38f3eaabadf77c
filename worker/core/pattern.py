"""Regular expressions that are compiled when they are first used, not when their module is imported."""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from re import compile as pattern
else:

    class pattern:  # noqa: N801  called like the function that it stands for
        """Stands for `re.compile(text, flags)`."""

        def __init__(self, text: str, flags: int = 0) -> None:
            self._text, self._flags = text, flags

        def __getattr__(self, name: str) -> Any:
            compiled = re.compile(self._text, self._flags)
            # The methods in use are found without this one from then on.
            found = self.__dict__[name] = getattr(compiled, name)
            return found


__all__ = ["pattern"]
