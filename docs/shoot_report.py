"""Take a picture of a report for the documents: ``shoot_report.py RESULTS PICTURE PLACE``.

The place is a component, or the id of a section.
"""

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright


def main(results: Path, picture: Path, place: str) -> None:
    """Open the report with the network off and take the screen of a component or section."""
    browsers = ("chromium", "chromium-browser", "google-chrome")
    chromium = next((path for name in browsers if (path := shutil.which(name))), None)
    if chromium is None:
        raise SystemExit("There is no Chromium: apt-get install chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(offline=True, viewport={"width": 1180, "height": 940})
        page = context.new_page()
        page.goto(f"{(results / 'report.html').absolute().as_uri()}#{place}")
        if not place.startswith("part-"):
            page.locator("#ui-first-panel .bar-high").filter(has_text=".").wait_for()
        page.screenshot(path=picture)
        browser.close()
    # A third of the size, and the eye sees no difference.
    with Image.open(picture) as taken:
        small = taken.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(picture, optimize=True)
    print(f"wrote {picture}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
