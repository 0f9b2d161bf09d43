"""SVG that is the same from one machine to the next."""

import re


def steady(svg: str) -> str:
    """Returns an SVG of matplotlib with coordinates to 0.01 pt, and clip paths named in order.

    What stands behind that is noise of the layout, which differs between machines; the names that
    matplotlib gives to clip paths are hashes of it.
    """
    # In tags alone: numbers that are text stay.
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"-?\d+\.\d+", _rounded, tag[0]), svg)
    for i, name in enumerate(re.findall(r'<clipPath id="(\w+)"', svg), start=1):
        svg = svg.replace(f'"{name}"', f'"clip_{i}"').replace(f"(#{name})", f"(#clip_{i})")
    return svg


def _rounded(number: re.Match[str]) -> str:
    # Not -0, which is 0 elsewhere.
    return f"{round(float(number[0]), 2) + 0.0:.10g}"
