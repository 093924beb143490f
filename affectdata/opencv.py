"""OpenCV as this program reads media with it: quiet, and bounded."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

MAX_PIXELS = 100_000_000
"""Pictures above 100 megapixels are refused before they are decoded: 300 MB each, and no face dataset has them."""


@lru_cache(maxsize=1)
def opencv() -> Any:
    """cv2, told to keep its warnings: a damaged picture or video is reported once, by us."""
    # Both are read when the library first needs them; beyond the limit OpenCV refuses too, should a header lie to us.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2
