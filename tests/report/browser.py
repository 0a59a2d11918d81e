"""A headless browser, driven by the WebDriver protocol."""

import contextlib
import json
import re
import shutil
import subprocess
import urllib.request

BINARIES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "hide-scrollbars",
)


def binary():
    return next(filter(None, map(shutil.which, BINARIES)), None)


class Browser:
    def __init__(self, address):
        self._address = address

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._address + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def run(self, script):
        return self.call("POST", "/execute/sync", {"script": script, "args": []})

    def devtools(self, command, **parameters):
        body = {"cmd": command, "params": parameters}
        return self.call("POST", "/goog/cdp/execute", body)

    def look(self, page, *, width, scheme):
        """Loads a page at a width and in a colour scheme."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.devtools("Emulation.setEmulatedMedia", features=[feature])
        self.call("POST", "/url", {"url": page.resolve().as_uri()})

    def complaints(self):
        return self.call("POST", "/se/log", {"type": "browser"})


@contextlib.contextmanager
def browsing(profile):
    """A browser that knows nothing and leaves nothing behind."""
    arguments = [f"--{flag}" for flag in _FLAGS] + [f"--user-data-dir={profile}"]
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True
    )
    try:
        ports = (
            re.search(r"successfully on port (\d+)", line) for line in driver.stdout
        )
        port = next(filter(None, ports)).group(1)
        address = f"http://127.0.0.1:{port}/session"
        wanted = {
            "goog:chromeOptions": {"args": arguments, "binary": binary()},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        capabilities = {"capabilities": {"alwaysMatch": wanted}}
        session = Browser(address).call("POST", "", capabilities)["sessionId"]
        browser = Browser(f"{address}/{session}")
        try:
            yield browser
        finally:
            browser.call("DELETE", "")
    finally:
        driver.terminate()
        driver.wait(10)
        driver.stdout.close()
