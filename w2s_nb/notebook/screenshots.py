"""Draws HTML as PNG in the Chromium that also draws figures."""

from __future__ import annotations

import asyncio
import base64
import threading
import warnings

import choreographer

_FEW_PIXELS = 10  # the page's height before it has content, which makes it as high as it needs


class Screenshots:
    """Draws pages one by one, each in a browser of its own, while one answers.

    Attributes:
        browser: its path.
        patience: seconds to wait for a picture. It takes two or three, and one of processor time.
        silent: whether a picture has failed; then no more are tried.
    """

    def __init__(self, browser: str, patience: float = 60.0):
        self.browser = browser
        self.patience = patience
        self.silent = False

    def draw(self, page: str, width: int, scale: float = 1) -> tuple[bytes, tuple[int, int]] | None:
        """Returns a PNG of HTML, and its width and height in pixels of the page; None if there is
        none.

        Args:
            page: HTML, shown on white ground.
            width: of the page, in pixels.
            scale: pixels of the picture per pixel of the page.
        """
        if self.silent:
            return None
        drawn: list[tuple[bytes, tuple[int, int]]] = []
        why = f"no answer in {self.patience:g} s"

        def work() -> None:
            nonlocal why
            try:
                drawn.append(asyncio.run(_draw(self.browser, page, width, scale)))
            except Exception as error:  # whatever it is, the notebook goes on, and is told below
                why = type(error).__name__  # its text may hold paths of this machine

        worker = threading.Thread(target=work, daemon=True)  # a kernel's own loop runs already
        worker.start()
        worker.join(self.patience)
        if not drawn:
            self.silent = True
            warnings.warn(
                f"the browser drew no picture of a board or widget ({why}); this and later ones "
                "are stored without",
                stacklevel=2,
            )
            return None
        return drawn[0]


async def _draw(
    browser_path: str, page: str, width: int, scale: float
) -> tuple[bytes, tuple[int, int]]:
    content = (
        "<!doctype html><meta charset='utf-8'><style>body {margin: 0; background: white; "
        "color: #222; font: 13px 'DejaVu Sans', sans-serif}</style>" + page
    )
    async with choreographer.Browser(
        path=browser_path, headless=True, enable_sandbox=False, enable_gpu=False
    ) as browser:
        tab = await browser.create_tab("about:blank")

        async def send(command: str, **parameters) -> dict:
            answer = await tab.send_command(command, parameters)
            return answer["result"]

        size = {"width": width, "height": _FEW_PIXELS}
        await send(
            "Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=scale, mobile=False
        )
        frame = (await send("Page.getFrameTree"))["frameTree"]["frame"]["id"]
        await send("Page.setDocumentContent", frameId=frame, html=content)
        # images in the page are decoded after its text
        await send(
            "Runtime.evaluate",
            expression="Promise.all([...document.images].map(i => i.decode()))",
            awaitPromise=True,
        )
        whole = (await send("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": width, "height": whole["height"], "scale": 1}
        shot = await send(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip
        )
    return base64.b64decode(shot["data"]), (width, int(whole["height"]))
