"""A progress bar for notebooks, in place of text on the red ground of standard error."""

from __future__ import annotations

import time

from IPython.display import display
from tqdm.notebook import tqdm

# Seconds before a bar is shown: what takes less leaves no trace in the notebook.
_DELAY = 1.0


class PassingBar(tqdm):
    """A bar of tqdm that is shown once work takes a second, and gone when the work is done.

    Work that an error or an interrupt ends leaves a shown bar, in red, where it stopped.
    """

    def __init__(self, *args, **kwargs):
        self._started = time.monotonic()
        self._place = None
        super().__init__(*args, display=False, leave=False, mininterval=0.5, **kwargs)

    def display(self, *args, close: bool = False, bar_style: str | None = None, **kwargs) -> None:
        """Draws the bar as it is now; as `tqdm.notebook.tqdm.display`."""
        late = time.monotonic() - self._started >= _DELAY
        if self._place is None and late and not close and bar_style != "danger":
            self._place = display(self.container, display_id=True)
        super().display(*args, close=close, bar_style=bar_style, **kwargs)
        if close and self._place is not None:  # else a saved notebook would show a dead widget
            self._place.update({"text/plain": ""}, raw=True)
