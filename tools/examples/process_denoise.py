#!/usr/bin/env python3
"""A program for the operator `process`: replaces each image by its running median, which removes cosmic rays and hot pixels.

    denoise:
      op: process
      in: read
      with: {command: [python3, process_denoise.py, "3"], version: 1}

The argument is the width of the window in pixels (odd). A record without a tensor `image` fails; an image of nothing but
NaN has no answer (it goes no further).
"""
import sys

import numpy
from numpy.lib.stride_tricks import sliding_window_view

import lensmill_record as lensmill


def running_median(image, width):
    """Median over width x width pixels; the border is mirrored. NaN pixels do not count."""
    half = width // 2
    windows = sliding_window_view(numpy.pad(image, half, mode="symmetric"), (width, width))
    return numpy.nanmedian(windows, axis=(-2, -1)).astype(image.dtype)


def main():
    width = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    if width < 1 or width % 2 == 0:
        sys.exit(f"the width of the window is {width}: it must be odd")
    answers = sys.stdout.buffer
    sys.stdout = sys.stderr  # a stray print() must not land between the answers
    for record in lensmill.read_records(sys.stdin.buffer):
        try:
            image = lensmill.array(lensmill.tensors(record)["image"])
            if image.ndim != 2 or min(image.shape) < width:
                raise ValueError(f"an image of shape {image.shape} is too small for a window of {width}")
            if numpy.isnan(image).all():
                lensmill.write_record(answers, None)
                continue
            lensmill.set_tensor(record, "image", running_median(image, width))
            lensmill.set_attribute(record, "median_width", width, "[pix] window of the running median")
        except KeyError:
            lensmill.write_error(answers, "the record has no tensor \"image\"")
        except ValueError as error:
            lensmill.write_error(answers, error)
        else:
            lensmill.write_record(answers, record)


if __name__ == "__main__":
    main()
