"""OpenCV's side of `npm run bench:loader`: `opencvLoader.py FOLDER`.

Reads lines `MODE COUNT` and answers each with the seconds of processor time, of all threads of the process, that COUNT inputs
took: planar RGB in batches, as networks take it. Modes: letterbox, mosaic; with `-warm` from decoded, resized pictures kept in
memory.
"""

import pathlib
import resource
import sys

import cv2
import numpy as np

SIDE = 640
GREY = 114
BATCH = 16
cv2.setNumThreads(0)  # no threads of its own: one core
folder = pathlib.Path(sys.argv[1])
paths = [str(path) for path in sorted((folder / "images").iterdir())]
rng = np.random.default_rng(0)
kept = {}
batch = np.empty((BATCH, 3, SIDE, SIDE), np.uint8)


def read(index):
    """The picture, its longer side 640."""
    image = cv2.imread(paths[index])
    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    return cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_LINEAR)


def read_warm(index):
    if index not in kept:
        kept[index] = read(index)
    return kept[index]


def letterbox(index, read):
    image = read(index)
    down, right = SIDE - image.shape[0], SIDE - image.shape[1]
    return cv2.copyMakeBorder(
        image, down // 2, down - down // 2, right // 2, right - right // 2, cv2.BORDER_CONSTANT, value=(GREY,) * 3
    )


def mosaic(index, read):
    canvas = np.full((2 * SIDE, 2 * SIDE, 3), GREY, np.uint8)
    meet_x, meet_y = (int(v) for v in rng.uniform(0.5 * SIDE, 1.5 * SIDE, 2))
    for corner, which in enumerate([index, *rng.integers(0, len(paths), 3)]):
        image = read(int(which))
        height, width = image.shape[:2]
        left = meet_x - width if corner % 2 == 0 else meet_x
        top = meet_y - height if corner < 2 else meet_y
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + width, 2 * SIDE), min(top + height, 2 * SIDE)
        canvas[y1:y2, x1:x2] = image[y1 - top : y2 - top, x1 - left : x2 - left]
    return flip(change_colours(scale_and_move(canvas)))


def scale_and_move(canvas):
    scale = rng.uniform(0.5, 1.5)
    to_x, to_y = rng.uniform(0.4, 0.6, 2) * SIDE
    view = np.array([[scale, 0, to_x - scale * SIDE], [0, scale, to_y - scale * SIDE]])
    return cv2.warpAffine(canvas, view, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderValue=(GREY,) * 3)


def change_colours(image):
    gains = rng.uniform(-1, 1, 3) * (0.015, 0.7, 0.4) + 1
    levels = np.arange(256)
    hue, saturation, value = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2HSV))
    hue = cv2.LUT(hue, (levels * gains[0] % 180).astype(np.uint8))
    saturation = cv2.LUT(saturation, np.clip(levels * gains[1], 0, 255).astype(np.uint8))
    value = cv2.LUT(value, np.clip(levels * gains[2], 0, 255).astype(np.uint8))
    return cv2.cvtColor(cv2.merge((hue, saturation, value)), cv2.COLOR_HSV2BGR)


def flip(image):
    return cv2.flip(image, 1) if rng.random() < 0.5 else image


def put_into_batch(image, slot):
    red, green, blue = batch[slot]
    cv2.split(image, (blue, green, red))


def processor_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


upcoming = 0
for line in sys.stdin:
    mode, count = line.split()
    make = letterbox if mode.startswith("letterbox") else mosaic
    source = read_warm if mode.endswith("-warm") else read
    if source is read_warm and not kept:
        for index in range(len(paths)):
            read_warm(index)
    before = processor_seconds()
    for _ in range(int(count)):
        put_into_batch(make(upcoming % len(paths), source), upcoming % BATCH)
        upcoming += 1
    print(processor_seconds() - before, flush=True)
